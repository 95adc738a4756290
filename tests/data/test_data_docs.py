"""docs/data.md: its examples run, and the data set of its own is found as a plugin."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from sample_files import encode, noise, upload

from mox_core.plugins import get_manager, hookimpl
from mox_core.testing import ToyEngine

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
EXAMPLES = [block for block in BLOCKS if not block.startswith("# ")]


class Toy:
    @hookimpl
    def mox_engine(self, name):
        return ToyEngine()


@pytest.fixture
def folder(tmp_path, store, monkeypatch):
    for name, count in (("daisy", 5), ("rose", 4), ("tulip", 3)):
        (tmp_path / "flower_photos" / name).mkdir(parents=True)
        for number in range(count):
            image = encode(noise(number, 80, 60 + 4 * number))
            (tmp_path / "flower_photos" / name / f"{number}.jpg").write_bytes(image)
    shutil.copytree(ROOT / "examples" / "data" / "digits", tmp_path / "digits")
    upload(store, tmp_path / "flower_photos", "flower_photos")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOX_ENGINE", "toy")
    monkeypatch.setenv("DLS_LOCAL_CACHE_PATH", str(tmp_path / "cache"))
    get_manager().register(Toy(), "toy", kind="engine")
    yield tmp_path
    get_manager().unregister("toy", kind="engine")


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_examples_run(number, folder, capsys):
    exec(compile(EXAMPLES[number], f"docs/data.md, example {number}", "exec"), {})
    out = capsys.readouterr().out
    if "(4, 64, 64, 3)" in EXAMPLES[number]:
        assert out.startswith("['daisy', 'rose', 'tulip'] 12\n(4, 64, 64, 3) uint8 [")
    if "over the network" in EXAMPLES[number]:
        assert out.startswith("24 samples")
    if "mox.run" in EXAMPLES[number]:
        assert out.splitlines()[-1] == "15"


def test_the_data_set_of_its_own_is_a_plugin_and_passes_the_suite(tmp_path, documented_plugin):
    python = documented_plugin("data.md")
    (tmp_path / "train.json").write_text("[0, 250, 100]")
    script = """
import mox_core as mox

dataset = mox.get_dataset("squares", "train", ".", batch_size=3, shuffle=False)
images, labels = next(iter(dataset))
print(labels.tolist(), images[:, 0, 0, 0].tolist())
"""
    assert python("-c", script) == "[0, 1, 0] [0, 250, 100]\n"
    assert "squares" in python("-m", "mox_core.cli", "plugins")
    python("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_squares.py")
