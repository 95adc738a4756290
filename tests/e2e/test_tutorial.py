"""The tutorial's scripts do what its text says."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()


def listing(name):
    return re.search(rf"```python\n# {name}\n(.*?)```", TEXT, re.S).group(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tutorial")
    for name in ("spirals.py", "use_spirals.py"):
        (folder / name).write_text(listing(name))
    return folder


def python(folder, *commands):
    """Runs commands at once, each a list of arguments; what they say on both streams."""
    options = {"cwd": folder, "env": {**os.environ, "MOX_ENGINE": "tf"}, "text": True}
    options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with contextlib.ExitStack() as stack:
        started = [
            stack.enter_context(subprocess.Popen([sys.executable, *command], **options))
            for command in commands
        ]
        said = [process.communicate(timeout=240) for process in started]
        for process, (_, errors) in zip(started, said, strict=True):
            assert process.returncode == 0, errors
    return said


def test_the_tutorial_from_beginning_to_end(folder):
    ((said, _),) = python(folder, ["spirals.py"])
    assert said.endswith("spirals_logs/1\n")
    lines = (folder / "spirals_logs" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 100, 200, 300, 400, 500]

    ((_, log),) = python(folder, ["spirals.py", "--num_gpus", "2"])
    assert "step: 600(global step: 600)" in log

    (said, log), (exported, _) = python(
        folder, ["spirals.py", "--mode", "EVAL"], ["use_spirals.py"]
    )
    assert "5 batches, 500 samples" in log
    accuracy = float(re.search(r"'accuracy': ([\d.]+)", said).group(1))
    assert accuracy > 0.9

    assert re.search(r"\[\d \d\]", exported)

    ((said, _),) = python(folder, ["spirals.py", "--mode", "PREDICT"])
    assert re.search(r"\[(\d ){9}\d\]", said)
