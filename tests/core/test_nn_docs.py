"""docs/nn.md says what the code does."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import numpy as np
import pytest

import mox_core as mox
from mox_core import nn
from mox_core.cli import main
from mox_core.flags import registry
from mox_core.nets import NETWORKS
from mox_core.optim import OPTIMIZER_NAMES
from mox_core.plugins import get_manager, hookimpl
from mox_core.testing import ToyEngine

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "nn.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def table(title):
    section = TEXT.partition(title)[2].partition("\n#")[0]
    return [row.strip("| ").split(" | ") for row in section.splitlines() if row.startswith("| ")][
        1:
    ]


class Toy:
    @hookimpl
    def mox_engine(self, name):
        return ToyEngine()


@pytest.fixture
def toy_script(monkeypatch, tmp_path):
    """Scripts run in an empty folder, for three steps, with the toy engine installed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOX_MAX_STEPS", "3")
    get_manager().register(Toy(), "toy", kind="engine")

    def arguments(*given):
        monkeypatch.setattr("sys.argv", ["train.py", "--engine", "toy", *given])
        registry().reset()

    yield arguments
    get_manager().unregister("toy", kind="engine")


def test_the_first_example_trains(toy_script, tmp_path):
    random = np.random.default_rng(0)
    data = {
        "images": random.normal(size=(8, 784)).astype(np.float32),
        "labels": random.integers(0, 10, 8),
    }
    toy_script()
    exec(EXAMPLES[0], data)
    assert (tmp_path / "logs" / "model.ckpt-3.mox.json").is_file()


def test_the_script_for_every_engine_trains(toy_script, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    toy_script("--log_dir", "logs", "--batch_size", "8")
    runpy.run_path(str(ROOT / "examples" / "train_mnist_any_engine.py"), run_name="__main__")
    assert (tmp_path / "logs" / "model.ckpt-3.mox.json").is_file()


def test_the_network_example_builds():
    space = {"mox": mox, "nn": nn}
    exec(EXAMPLES[1], space)
    specs = {0: nn.InputSpec((None, 64, 64, 3), "float32"), 1: nn.InputSpec((None,), "int64")}
    trace = nn.trace(space["model_fn"], specs, mox.ModeKeys.TRAIN)
    assert trace.spec.loss.shape == ()


def test_operations_in_the_docs_exist():
    named = {name for row in table("### Operations") for name in re.findall(r"`(\w+)`", row[0])}
    assert named and named <= set(nn.OPERATIONS)


def test_every_optimizer_has_its_rule_in_the_docs():
    assert {row[0] for row in table("### Optimizers")} == set(OPTIMIZER_NAMES)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_every_network_and_its_numbers_are_in_the_docs(name, capsys):
    main(["net", "show", name, "--json"])
    report = json.loads(capsys.readouterr().out)
    (row,) = [row for row in table("## The networks") if row[0] == f"`{name}`"]
    numbers = [int(cell.replace(",", "")) for cell in row[1:]]
    assert numbers == [report["image_size"], report["parameters"], report["multiply_adds"]]
