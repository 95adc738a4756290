"""An engine that somebody else publishes: installed with pip, found, listed, chosen, tested."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("mox-engine-demo")


class Installation:
    """The demo engine, installed into a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "mox-engine-demo"
        self._site = folder / "site"
        shutil.copytree(SOURCE, self.source)  # builds leave files behind
        # Without network: hatchling is here, and so is all that the engine depends on.
        options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
        command = [sys.executable, "-m", "pip", "install", *options]
        installed = self.run([*command, "--target", str(self._site), str(self.source)])
        assert installed.returncode == 0, installed.stderr

    def run(self, command: list[str], *, installed: bool = True) -> subprocess.CompletedProcess:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MOX_")}
        if installed:
            paths = [str(self._site), *filter(None, [environment.get("PYTHONPATH")])]
            environment["PYTHONPATH"] = os.pathsep.join(paths)
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.source.parent,
            env=environment,
        )

    def python(self, *arguments: str, **options: bool) -> subprocess.CompletedProcess:
        return self.run([sys.executable, *arguments], **options)

    def mox(self, *arguments: str, **options: bool) -> subprocess.CompletedProcess:
        return self.python("-m", "mox_core.cli", *arguments, **options)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return Installation(tmp_path_factory.mktemp("demo"))


def test_it_is_found_and_listed(demo):
    listed = json.loads(demo.mox("plugins", "--json").stdout)
    (entry,) = [plugin for plugin in listed if plugin["name"] == "demo"]
    assert entry["kind"] == "engine"
    assert entry["version"] == "0.3.1"
    assert entry["distribution"] == "mox-engine-demo"
    assert entry["state"] == "ok"
    assert re.search(r"demo +engine +0\.3\.1 +mox-engine-demo +ok", demo.mox("plugins").stdout)


def test_listing_imports_neither_the_engine_nor_numpy(demo):
    code = (
        "import sys; from mox_core.cli import main; main(['plugins']); "
        "print({'mox_engine_demo.engine', 'numpy'} & set(sys.modules))"
    )
    assert demo.python("-c", code).stdout.splitlines()[-1] == "set()"


def test_doctor_describes_it(demo):
    finished = demo.mox("doctor", "demo")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "python" in finished.stdout


def test_without_the_package_it_is_not_installed(demo):
    finished = demo.mox("doctor", "demo", installed=False)
    assert finished.returncode == 1
    assert "engine 'demo' is not installed" in finished.stdout + finished.stderr


@pytest.mark.parametrize("way", ["script", "mox run"])
def test_a_script_runs_on_it(demo, tmp_path, way):
    arguments = [str(demo.source / "train.py"), "--engine", "demo", "--log_dir", str(tmp_path)]
    finished = demo.python(*arguments) if way == "script" else demo.mox("run", *arguments)
    assert finished.returncode == 0, finished.stderr
    found = re.fullmatch(r"accuracy: (\d\.\d{3})\n", finished.stdout)
    assert found, finished.stdout
    assert float(found[1]) > 0.95
    assert "INFO:mox:step: 50(global step: 50)\tsample/sec: " in finished.stderr
    record = json.loads((tmp_path / "model.ckpt-60.mox.json").read_text())
    assert record["engine"] == "demo"


def test_a_name_that_is_nearly_right(demo, tmp_path):
    script = str(demo.source / "train.py")
    finished = demo.mox("run", script, "--engine", "dmeo", "--log_dir", str(tmp_path))
    assert finished.returncode == 1
    assert "engine 'dmeo' is not installed" in finished.stderr
    assert "Did you mean 'demo'?" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_it_passes_engine_suite(demo):
    options = ["-q", "-rs", "-p", "no:cacheprovider", "--rootdir", str(demo.source)]
    finished = demo.python("-m", "pytest", *options, str(demo.source / "tests"))
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert int(re.search(r"(\d+) passed", finished.stdout)[1]) >= 45
    for capability in ("towers", "inter_mode", "multi_loss", "auto_batch", "export_formats"):
        assert f"engine 'demo' does not declare {capability}" in finished.stdout
