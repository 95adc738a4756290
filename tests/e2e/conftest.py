"""Runs scripts as a user does: a process of its own, in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
EXAMPLES = REPO / "examples"
SCRIPTS = Path(__file__).parent / "scripts"
STEP_LINE = re.compile(
    r"^INFO:tensorflow:step: (\d+)\(global step: (\d+)\)\tsample/sec: \d+\.\d{3}"
)


class User:
    """Someone with a shell in `folder`."""

    def __init__(self, folder: Path, start_process) -> None:
        self.folder = folder
        self._start_process = start_process
        self.scripts = SCRIPTS
        variables = {k: v for k, v in os.environ.items() if not k.startswith("MOX_")}
        # The scripts of these tests use mnist_data and the examples' network.
        path = os.pathsep.join(filter(None, [str(EXAMPLES), variables.get("PYTHONPATH")]))
        self.environment = {**variables, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}

    def start(self, script, *arguments):
        """Starts `python script arguments...`; standard output and error come as one stream."""
        return self._start_process(
            [sys.executable, str(script), *map(str, arguments)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, script, *arguments, code=0):
        """Runs it to its end, which has to be with this exit code; returns what it printed."""
        return self.run_together((script, *arguments), code=code)[0]

    def run_together(self, *commands, code=0):
        """The same for several scripts at once: the import of TensorFlow keeps one core busy."""
        outputs = []
        with contextlib.ExitStack() as stack:
            started = [stack.enter_context(self.start(*command)) for command in commands]
            for process in started:
                outputs.append(process.communicate(timeout=240)[0])
                assert process.returncode == code, outputs[-1]
        return outputs

    def example(self, name, *arguments, code=0):
        return self.run(EXAMPLES / name, *arguments, code=code)

    def script(self, name, *arguments, code=0):
        return self.run(SCRIPTS / name, *arguments, code=code)


@pytest.fixture(scope="module")
def user(tmp_path_factory, start_process):
    return User(tmp_path_factory.mktemp("user"), start_process)


@pytest.fixture
def new_user(tmp_path, start_process):
    return User(tmp_path, start_process)


@pytest.fixture
def steps_logged():
    """Function: output of a run -> the numbers on its log lines."""

    def steps(output):
        found = [STEP_LINE.match(line) for line in output.splitlines()]
        assert all(one[1] == one[2] for one in found if one)
        return [int(one[1]) for one in found if one]

    return steps


@pytest.fixture
def number():
    """Function: pattern with one group, output -> the number it last matches."""

    def last(pattern, output):
        found = re.findall(pattern, output)
        assert found, output
        return float(found[-1])

    return last
