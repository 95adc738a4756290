"""The toy engine passes EngineSuite, and engines with a fault do not; its own messages."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

import mox_core as mox
from mox_core.engine import EngineConfig, Fetch, ProgramRequest
from mox_core.errors import ExportError, SpecError
from mox_core.flags import get_flag
from mox_core.testing import EngineSuite, ToyEngine, load_exported
from mox_core.testing import toy_nn as toy
from mox_core.testing.toy_problem import TOY_PROBLEM

TRAIN, EVAL, EXPORT = mox.ModeKeys.TRAIN, mox.ModeKeys.EVAL, mox.ModeKeys.EXPORT
FAULTY = Path(__file__).with_name("faulty_engines.py")
FAULTS = re.findall(
    r"class (Test\w+)\(FaultySuite\):\n    caught_by = \"(.+)\"", FAULTY.read_text()
)


class TestToyEngine(EngineSuite):
    @pytest.fixture
    def make_engine(self):
        return ToyEngine

    @pytest.fixture
    def problem(self):
        return TOY_PROBLEM


# ---- The suite catches faults --------------------------------------------------------------------


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """(class, test) -> "failure", "error", "skipped" or "passed", for all faulty engines."""
    report = tmp_path_factory.mktemp("faulty") / "report.xml"
    tests = [f"{FAULTY}::{name}::{caught_by}" for name, caught_by in FAULTS]
    command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *tests]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 1, finished.stdout + finished.stderr
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        key = case.get("classname", "").rpartition(".")[2], case.get("name")
        found[key] = next((child.tag for child in case if child.tag != "system-out"), "passed")
    return found


@pytest.mark.parametrize(("name", "caught_by"), FAULTS)
def test_the_suite_catches_a_faulty_engine(outcomes, name, caught_by):
    assert outcomes[name, caught_by] == "failure"


def test_an_author_who_forgets_a_fixture_is_told(pytester_like):
    output = pytester_like(
        "from mox_core.testing import EngineSuite\nclass TestMine(EngineSuite): pass\n",
        "-k",
        "describes_itself",
    )
    assert "TestMine needs a fixture" in output


def test_what_is_not_declared_is_skipped_and_says_so(pytester_like):
    output = pytester_like(
        """
from dataclasses import replace
import pytest
from mox_core.testing import EngineSuite, ToyEngine
from mox_core.testing.toy_problem import TOY_PROBLEM

class OneTower(ToyEngine):
    capabilities = replace(ToyEngine.capabilities, towers=False)

class TestOneTower(EngineSuite):
    @pytest.fixture
    def make_engine(self):
        return OneTower
    @pytest.fixture
    def problem(self):
        return TOY_PROBLEM
""",
        "-k",
        "tower",
        "-rs",
    )
    assert "engine 'toy' does not declare towers" in output
    assert "failed" not in output


@pytest.fixture
def pytester_like(tmp_path):
    """Runs pytest on the text of a test file; returns what it prints."""

    def run(text, *options):
        (tmp_path / "test_it.py").write_text(text)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(tmp_path)]
        finished = subprocess.run(
            [*command, *options], capture_output=True, text=True, check=False, cwd=tmp_path
        )
        return finished.stdout

    return run


# ---- What the toy engine itself adds -------------------------------------------------------------


def build(mode, input_fn, model_fn, **fields):
    engine = ToyEngine()
    engine.setup(EngineConfig(towers=1, get_flag=get_flag))
    if mode == TRAIN:
        fields.setdefault("optimizer_fns", (lambda: toy.Sgd(0.1),))
    return engine.build(ProgramRequest(mode, input_fn, model_fn, **fields))


def mean_of(key):
    """A model_fn: the mean of one input times a weight."""

    def model_fn(inputs, mode):
        loss = toy.mean(inputs[key] * toy.variable("weight", ()))
        return mox.ModelSpec(loss=loss, log_info={"loss": loss})

    return model_fn


def test_a_dict_of_inputs_stays_a_dict():
    program = build(EVAL, lambda mode: [{"x": np.ones(4)}], mean_of("x"))
    results = program.run_steps(1, Fetch(values=True), lambda: False)
    assert (results.values, results.samples) == ([{"loss": 0.0}], [4])


def test_one_array_comes_in_a_list():
    program = build(EVAL, lambda mode: [np.ones(4)], mean_of(0))
    assert program.run_steps(1, Fetch(), lambda: False).steps == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "input_fn returned None (is a return missing?) in mode TRAIN."),
        (7, "input_fn returned 7 in mode TRAIN."),
        ([], "input_fn gives no batch in mode TRAIN."),
        ([(np.ones(2), None)], "inputs[1] of item 0 of input_fn(TRAIN) is a NoneType"),
        ([([[1, 2], [3]],)], "inputs[0] of item 0 of input_fn(TRAIN) is a list"),
    ],
    ids=["none", "number", "empty", "none_inside", "ragged"],
)
def test_data_that_cannot_be_read(data, message):
    with pytest.raises(SpecError) as error:
        build(TRAIN, lambda mode: data, mean_of(0))
    assert message in str(error.value)


def test_samples_of_unequal_shape_cannot_be_batched():
    samples = [np.ones(2), np.ones(3)]
    with pytest.raises(SpecError, match=r"differ: \{0: \(2,\)\} and \{0: \(3,\)\}"):
        build(TRAIN, lambda mode: samples, mean_of(0), batch_size=2, auto_batch=True)


def test_a_variable_outside_of_model_fn():
    with pytest.raises(SpecError, match=r"variable\('weight'\) is called outside of model_fn"):
        toy.variable("weight", ())


def test_two_shapes_under_one_name():
    def model_fn(inputs, mode):
        toy.variable("weight", (2,))
        return mean_of(0)(inputs, mode)

    with pytest.raises(SpecError, match=r"'weight' has shape \(2,\), and model_fn asks for \(\)"):
        build(TRAIN, lambda mode: [np.ones(2)], model_fn)


def test_a_variable_that_comes_late():
    calls = []

    def model_fn(inputs, mode):
        calls.append(mode)
        with toy.scope("late" if len(calls) == 3 else "first"):
            return mean_of(0)(inputs, mode)

    program = build(TRAIN, lambda mode: [np.ones(2)] * 3, model_fn)
    with pytest.raises(SpecError, match="new variable 'late/weight' in a later step"):
        program.run_steps(3, Fetch(), lambda: False)


def test_a_loss_without_variables():
    with pytest.raises(SpecError, match="loss depends on no trainable variable"):
        build(TRAIN, lambda mode: [np.ones(2)], lambda x, m: mox.ModelSpec(loss=toy.mean(x[0])))


def test_assign_checks_all_before_it_changes_any():
    program = build(TRAIN, lambda mode: [np.ones(2)], mean_of(0))
    with pytest.raises(SpecError, match="no variable 'other' of shape"):
        program.assign({"weight": 3.0, "other": 1.0})
    assert program.variables()["weight"] == 0


def test_a_checkpoint_describes_itself_without_a_record(tmp_path):
    program = build(TRAIN, lambda mode: [np.ones(2)], mean_of(0))
    program.save(str(tmp_path / "a"))
    assert ToyEngine().read_checkpoint(str(tmp_path / "a")) == program.variable_infos()
    assert ToyEngine().read_checkpoint(str(tmp_path / "b")) is None


def test_any_name_of_a_variable_can_be_saved(tmp_path):
    def model_fn(inputs, mode):
        loss = toy.mean(inputs[0] * toy.variable("file", ()))
        return mox.ModelSpec(loss=loss)

    program = build(TRAIN, lambda mode: [np.ones(2)], model_fn)
    program.run_steps(1, Fetch(), lambda: False)
    program.save(str(tmp_path / "a"))
    again = build(TRAIN, lambda mode: [np.ones(2)], model_fn)
    assert again.restore(str(tmp_path / "a"), lambda name: True).restored == ("file", "global_step")
    assert again.variables()["file"] == program.variables()["file"] != 0


def test_one_flipped_byte_is_damage(tmp_path):
    program = build(TRAIN, lambda mode: [np.ones(2)], mean_of(0))
    program.save(str(tmp_path / "a"))
    path = tmp_path / "a.npz"
    content = bytearray(path.read_bytes())
    position = content.index(b"\x93NUMPY") + 130  # the first array's number, behind its header
    content[position] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(mox.MoxError, match="is damaged"):
        program.restore(str(tmp_path / "a"), lambda name: True)


def test_an_export_that_lacks_an_input(tmp_path):
    def model_fn(inputs, mode):
        total = inputs[0] + inputs[1]
        return mox.ModelSpec(export_spec=mox.ExportSpec({"x": inputs[0]}, {"sum": total}))

    spec = {0: ((2,), np.dtype("f4")), 1: ((2,), np.dtype("f4"))}
    program = build(EXPORT, None, model_fn, input_spec=spec)
    with pytest.raises(ExportError, match=r"depends on inputs\[1\], which inputs_dict lacks"):
        program.export("toy_npz", str(tmp_path / "1"))


def test_an_exported_model_can_begin_at_any_tensor(tmp_path):
    def model_fn(inputs, mode):
        middle = inputs[0] + inputs[1]
        doubled = middle * 2.0
        return mox.ModelSpec(export_spec=mox.ExportSpec({"m": middle}, {"d": doubled, "m": middle}))

    spec = {0: ((2,), np.dtype("f4")), 1: ((2,), np.dtype("f4"))}
    build(EXPORT, None, model_fn, input_spec=spec).export("toy_npz", str(tmp_path / "1"))
    outputs = load_exported(str(tmp_path / "1"))(m=[1.0, 2.0])
    np.testing.assert_array_equal(outputs["d"], [2.0, 4.0])
    np.testing.assert_array_equal(outputs["m"], [1.0, 2.0])


@pytest.mark.parametrize(
    "function",
    [
        lambda x, w: toy.mean(toy.square(x * w)),
        lambda x, w: toy.mean(toy.relu(x - w)),
        lambda x, w: toy.mean(toy.square(toy.softmax(x @ w))),
        lambda x, w: toy.softmax_cross_entropy(x @ w, np.array([0, 2, 1])),
        lambda x, w: toy.mean((x + w) * (x + w) + w),
    ],
    ids=["square", "relu", "softmax", "cross_entropy", "reuse"],
)
def test_gradients_equal_finite_differences(function):
    rng = np.random.default_rng(0)
    x = toy.Tensor(rng.normal(size=(3, 3)))
    w = toy.Variable("w", rng.normal(size=(3, 3)), trainable=True)
    numeric = np.zeros((3, 3))
    for index in np.ndindex(3, 3):
        ends = []
        for nudge in (1e-5, -1e-5):
            moved = w.value.copy()
            moved[index] += nudge
            ends.append(float(function(x, toy.Tensor(moved)).value))
        numeric[index] = (ends[0] - ends[1]) / 2e-5
    np.testing.assert_allclose(toy.gradients(function(x, w))[w], numeric, rtol=1e-5, atol=1e-8)


def test_gradients_sum_over_what_was_broadcast():
    bias = toy.Variable("bias", np.zeros((1, 2)), trainable=True)
    loss = toy.mean(toy.Tensor(np.ones((4, 2))) + bias)
    np.testing.assert_allclose(toy.gradients(loss)[bias], [[0.5, 0.5]])


def test_the_learning_rate_may_be_a_function_of_the_step():
    def optimizer():
        return toy.Sgd(lambda step: 10.0**-step)

    program = build(TRAIN, lambda mode: [np.ones(2)] * 3, mean_of(0), optimizer_fns=(optimizer,))
    program.run_steps(3, Fetch(), lambda: False)
    assert program.variables()["weight"] == pytest.approx(-1.11)


def test_importing_the_kit_imports_neither_numpy_nor_pytest():
    code = "import sys, mox_core.testing; print({'numpy', 'pytest'} & set(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert printed.strip() == "set()"
