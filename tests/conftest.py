from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A suite started in the background inherits this and would hand it on to the scripts that
    # tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


class LineProcess(subprocess.Popen):
    """A process whose output is read line by line first, then by `communicate`, as text.

    Nothing is read ahead: `communicate` would not see what a text stream has buffered.
    """

    def __init__(self, command, **options):
        super().__init__(command, bufsize=0, **options)

    def wait_for(self, pattern, *, errors=False):
        """Reads standard output (or error) up to a line that matches; returns the match."""
        seen = []
        for line in iter((self.stderr if errors else self.stdout).readline, b""):
            seen.append(line.decode())
            if found := re.search(pattern, seen[-1]):
                return found
        raise AssertionError(f"{pattern!r} never came:\n{''.join(seen)}")

    def communicate(self, *args, **kwargs):
        output = super().communicate(*args, **kwargs)
        return tuple(None if part is None else part.decode() for part in output)


@pytest.fixture(scope="session")
def mnist_folder():
    """Folder of the real MNIST."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist"
    folder = Path(os.environ.get("MOX_TEST_MNIST") or beside)
    if not (folder / "train-images-idx3-ubyte.gz").exists():
        pytest.skip(f"no MNIST in {folder}; MOX_TEST_MNIST names another folder")
    return folder


@pytest.fixture(scope="session")
def start_process():
    """Function: starts a `LineProcess`."""
    return LineProcess


def write_metadata(folder, name, version, *, groups=None, requires=()):
    """Writes what an installer writes beside a distribution's modules."""
    dist_info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    dist_info.mkdir(parents=True)
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    metadata += [f"Requires-Dist: {requirement}" for requirement in requires]
    (dist_info / "METADATA").write_text("\n".join(metadata) + "\n")
    lines = []
    for group, entry_points in (groups or {}).items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in entry_points.items())]
    (dist_info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return dist_info


class Site:
    """A Python without site-packages, in which a test installs distributions of its own.

    What it installs is found by `importlib.metadata` like anything else; what is installed on the
    machine that runs the tests is not.
    """

    def __init__(self, base: Path, folder: Path) -> None:
        self.base = base
        self.folder = folder
        self.environment: dict[str, str] = {}
        folder.mkdir()

    def install(self, name, version="1.0", *, groups=None, modules=None, requires=(), folder=None):
        """Writes what an installer would: modules, METADATA, entry_points.txt."""
        folder = folder or self.folder
        for file, source in (modules or {}).items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(source))
        return write_metadata(folder, name, version, groups=groups, requires=requires)

    def command(self, *args):
        """A command line that runs Python in this site, and its environment."""
        variables = {k: v for k, v in os.environ.items() if not k.startswith(("MOX_", "PYTHON"))}
        path = os.pathsep.join([str(self.folder), str(self.base)])
        environment = {**variables, "PYTHONPATH": path, **self.environment}
        return [sys.executable, "-S", *map(str, args)], environment

    def run(self, *args, cwd=None, timeout=60):
        command, environment = self.command(*args)
        return subprocess.run(
            command,
            env=environment,
            cwd=cwd or self.folder.parent,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def python(self, code):
        """Runs a program that has to succeed, and returns what it printed."""
        done = self.run("-c", textwrap.dedent(code))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def mox(self, *args, cwd=None):
        return self.run("-m", "mox_core.cli", *args, cwd=cwd)


@pytest.fixture(scope="session")
def base_of_sites(tmp_path_factory):
    base = tmp_path_factory.mktemp("base")
    for name in ("mox_core", "pluggy", "packaging"):
        origin = importlib.util.find_spec(name).submodule_search_locations[0]
        shutil.copytree(origin, base / name, ignore=shutil.ignore_patterns("__pycache__"))
    return base


@pytest.fixture
def site(base_of_sites, tmp_path):
    return Site(base_of_sites, tmp_path / "site")


@pytest.fixture
def documented_plugin(tmp_path):
    """Function: installs the distribution that a page of the docs shows, and runs Python with it.

    Python blocks that begin with the name of a file are its modules; they land in tmp_path.
    """

    def install(page):
        text = (Path(__file__).parents[1] / "docs" / page).read_text(encoding="utf-8")
        for name, content in re.findall(r"```python\n# (\S+\.py)\n(.*?)```", text, re.DOTALL):
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
            if path.parent != tmp_path:
                (path.parent / "__init__.py").touch()
        project = re.search(r"```toml\n# pyproject.toml.*?\n(.*?)```", text, re.DOTALL)[1]
        name, version = re.findall(r'^(?:name|version) = "(.*)"', project, re.M)
        group, key, value = re.search(r'entry-points."(.*?)"\]\n(\w+) = "(.*?)"', project).groups()
        requires = re.findall(r'"(mox-core.*?)"', project)
        write_metadata(tmp_path, name, version, groups={group: {key: value}}, requires=requires)

        def python(*arguments):
            done = subprocess.run(
                [sys.executable, *arguments],
                cwd=tmp_path,
                env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
                capture_output=True,
                text=True,
                timeout=200,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        return python

    return install
