"""The docs name what the code has, and their examples run."""

from __future__ import annotations

import inspect
import re
import runpy
from pathlib import Path

import pytest

from mox_core.hooks import RunHook
from mox_core.plugins import hookspecs

DOCS = Path(__file__).parents[2] / "docs"


def specified_hooks():
    return {
        name: function
        for name, function in vars(hookspecs).items()
        if name.startswith("mox_") and callable(function)
    }


@pytest.mark.parametrize("name", sorted(specified_hooks()))
def test_every_hook_and_its_signature_is_in_the_docs(name):
    parameters = inspect.signature(specified_hooks()[name]).replace(
        return_annotation=inspect._empty
    )
    signature = f"`{name}{parameters}`".replace("'", "")
    assert signature in (DOCS / "plugins.md").read_text()


def test_the_docs_name_no_hook_that_does_not_exist():
    documented = set(re.findall(r"`(mox_\w+)\(", (DOCS / "plugins.md").read_text()))
    assert documented == set(specified_hooks())


def test_every_method_of_run_hook_is_in_the_architecture():
    text = (DOCS / "architecture.md").read_text()
    methods = [name for name in vars(RunHook) if not name.startswith("_")]
    for name in methods:
        if callable(getattr(RunHook, name)):
            assert f"`{name}(" in text, name


def test_the_plugin_example_works(documented_plugin):
    """Its module, as the docs show it, installed as a distribution and used in a run."""
    script = """
import numpy as np
import mox_core as mox
from mox_core.testing import ToyEngine, toy_nn as toy

def model_fn(inputs, mode):
    logits = inputs[0] @ toy.variable("w", (2, 2))
    loss = toy.softmax_cross_entropy(logits, inputs[1])
    accuracy = toy.accuracy(logits, inputs[1])
    return mox.ModelSpec(loss=loss, log_info={"accuracy": accuracy})

points = np.array([[1.0, 0.0], [0.0, 1.0]])
def input_fn(mode):
    return [(points, np.array([0, 1]))] * 50

result = mox.run(input_fn, None, model_fn, lambda: toy.Sgd(1.0), "TRAIN",
                 log_dir="logs", log_every_n_steps=1, engine=ToyEngine())
print(result.stop_reason)
"""
    output = documented_plugin("plugins.md")("-c", script)
    assert "step 0 is safe in logs/model.ckpt-0" in output
    assert output.splitlines()[-1] == "accuracy is above 0.99"


def test_the_table_of_flags_is_that_of_the_registry():
    """`python tests/core/flags_table.py` writes it anew."""
    flags_table = runpy.run_path(str(Path(__file__).with_name("flags_table.py")))
    assert flags_table["written"]() == flags_table["table"]()


def test_every_argument_of_run_is_in_the_docs():
    from mox_core import run

    text = (DOCS / "run.md").read_text()
    for name in inspect.signature(run).parameters:
        assert f"| `{name}` |" in text, name


def test_every_distribution_carries_the_license():
    repository = DOCS.parent
    for project in repository.glob("mox_*/pyproject.toml"):
        license = project.with_name("LICENSE").read_text()
        assert license == (repository / "LICENSE").read_text(), project.parent.name
