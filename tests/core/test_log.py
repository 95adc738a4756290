"""Each line of a run is printed once, in the format that is documented."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import logging, sys
import numpy as np
{before}
import mox_core as mox
from mox_core.testing import ToyEngine, toy_nn as toy

def input_fn(mode):
    return [(np.eye(2), np.array([0, 1]))] * 2

def model_fn(inputs, mode):
    return mox.ModelSpec(loss=toy.softmax_cross_entropy(inputs[0] @ toy.variable("w", (2, 2)),
                                                        inputs[1]))

def main(argv=None):
    mox.run(input_fn, None, model_fn, lambda: toy.Sgd(1.0), "TRAIN", engine=ToyEngine())

{after}
"""


def lines_of(before="", after="main()"):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(before=before, after=after)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return [line for line in done.stderr.splitlines() if "step: 0(" in line]


def test_a_plain_script():
    (line,) = lines_of()
    assert line.startswith("INFO:mox:step: 0(global step: 0)\tsample/sec: ")


def test_under_absl():
    pytest.importorskip("absl")
    (line,) = lines_of("from absl import app", "app.run(main)")
    assert line.startswith("INFO:mox:step: 0(global step: 0)\tsample/sec: ")


def test_a_script_with_a_format_of_its_own_keeps_it():
    (line,) = lines_of("logging.basicConfig(level=logging.INFO, format='mine %(message)s')")
    assert line.startswith("mine step: 0(global step: 0)\t")


def test_a_script_that_removes_the_handlers_of_the_root():
    (line,) = lines_of("logging.basicConfig(); logging.getLogger().handlers.clear()")
    assert line.startswith("INFO:mox:step: 0(")


def test_a_second_run_prints_no_line_twice():
    assert len(lines_of(after="main(); main()")) == 2


def test_a_level_that_the_script_chose_is_kept():
    assert lines_of("logging.getLogger('mox').setLevel(logging.ERROR)") == []
