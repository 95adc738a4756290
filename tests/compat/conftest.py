"""Runs scripts written for MoXing as a user does: a process of its own, in a folder of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
SCRIPTS = Path(__file__).parent / "scripts"
STEP_LINE = re.compile(
    r"^INFO:tensorflow:step: (\d+)\(global step: (\d+)\)\tsample/sec: \d+\.\d{3}((?:\t\w+: \S+)*)$",
    re.M,
)


class User:
    """Someone with a shell in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("MOX_")}

    def write(self, source, name="train.py"):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source).lstrip("\n"))
        return path

    def python(self, *arguments, code=0, **environment):
        """Runs `python arguments...` to its end; returns what it printed on both streams."""
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    def launch(self, script, *arguments, code=0, **environment):
        """Runs a script with the launcher: `python -m moxing script arguments...`."""
        return self.python("-m", "moxing", script, *arguments, code=code, **environment)

    def mox(self, *arguments, code=0, **environment):
        return self.python("-m", "mox_core.cli", *arguments, code=code, **environment)


@pytest.fixture
def user(tmp_path):
    return User(tmp_path)


@pytest.fixture(scope="module")
def same_user(tmp_path_factory):
    """One whose files the tests of a module share."""
    return User(tmp_path_factory.mktemp("user"))


@pytest.fixture(scope="session")
def manual():
    """Folder of the scripts written after the manuals."""
    return SCRIPTS / "manual"


@pytest.fixture
def log():
    """Function: output -> the steps logged, and the values of the last line."""

    def read(output):
        found = STEP_LINE.findall(output)
        assert found, output
        values = dict(item.split(": ") for item in found[-1][2].split("\t") if item)
        return [int(step) for step, _, _ in found], {k: float(v) for k, v in values.items()}

    return read


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """A folder with train/ and eval/, each with the classes blue and red: small JPEG files."""
    cv2 = pytest.importorskip("cv2")
    numpy = pytest.importorskip("numpy")
    folder = tmp_path_factory.mktemp("images")
    random = numpy.random.default_rng(0)
    for split, count in (("train", 8), ("eval", 4)):
        for name, colour in (("blue", (220, 40, 20)), ("red", (20, 40, 220))):
            (folder / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = numpy.array(colour) + random.integers(-20, 20, (40, 44, 3))
                image = pixels.clip(0, 255).astype(numpy.uint8)
                assert cv2.imwrite(str(folder / split / name / f"{index}.jpg"), image)
    return folder
