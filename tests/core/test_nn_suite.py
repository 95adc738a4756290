"""NNSuite on the toy engine: the NumPy reference agrees with finite differences and formulas."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import mox_core as mox
from mox_core.errors import EngineError, SpecError
from mox_core.plugins import get_manager, hookimpl
from mox_core.testing import NNSuite, ToyEngine, toy_neutral
from mox_core.testing import toy_nn as toy
from mox_core.testing.nn_bench import NNBench
from mox_core.testing.nn_reference import RULES, Rule


class TestToyEngine(NNSuite):
    @pytest.fixture
    def make_engine(self):
        return ToyEngine


# ---- The suite finds faults ----------------------------------------------------------------------


def _forward(op, function):
    """The toy engine computes an operation in another way; the reference does not."""

    def spoil(monkeypatch):
        rule = Rule(function, RULES[op].backward)
        monkeypatch.setitem(toy.OPERATIONS, f"nn.{op}", rule)

    return spoil


def _pads_first(x, *, pads, **attrs):
    """SAME padding with the odd pixel at the top and left."""
    turned = tuple((after, before) for before, after in pads)
    return RULES["max_pool"].forward(x, pads=turned, **attrs)


def _counts_padding(x, *, kernel_size, pads, **attrs):
    share = RULES["avg_pool"].forward(np.ones_like(x), kernel_size=kernel_size, pads=pads, **attrs)
    inside = np.pad(x, ((0, 0), *pads, (0, 0)))
    nothing = ((0, 0), (0, 0))
    return share * RULES["avg_pool"].forward(inside, kernel_size=kernel_size, pads=nothing, **attrs)


def _biased(monkeypatch):
    """Moving averages of the biased variance."""
    statistics = toy_neutral.batch_statistics

    def fewer(x):
        mean, variance, count = statistics(x)
        return mean, variance * (count - 1) / count, count

    monkeypatch.setattr(toy_neutral, "batch_statistics", fewer)


def _no_update(monkeypatch):
    monkeypatch.setattr(toy_neutral, "batch_norm_updates", lambda graph: [])


def _damped(monkeypatch):
    """Momentum with dampening, as other frameworks have it."""
    update = toy_neutral.update_variable

    def damped(spec, value, gradient, slots, **state):
        scale = 0.2 if spec.name == "momentum" else 1.0
        return update(spec, value, scale * gradient, slots, **state)

    monkeypatch.setattr(toy_neutral, "update_variable", damped)


def _wrong_gradient(monkeypatch):
    rule = Rule(RULES["lrn"].forward, lambda g, y, x, **attrs: (g,))
    monkeypatch.setitem(toy.OPERATIONS, "nn.lrn", rule)


@pytest.mark.parametrize(
    ("spoil", "test", "case"),
    [
        (_forward("max_pool", _pads_first), "test_value", "max_pool SAME stride 2 even"),
        (_forward("avg_pool", _counts_padding), "test_value", "avg_pool SAME"),
        (_forward("relu6", lambda x: np.maximum(x, 0)), "test_value", "relu6"),
        (_wrong_gradient, "test_gradient", "lrn"),
        (_biased, "test_moving_averages", None),
        (_no_update, "test_moving_averages", None),
        (_damped, "test_ten_steps_of_an_optimizer", "momentum"),
    ],
)
def test_the_suite_finds_a_fault(spoil, test, case, monkeypatch):
    bench = NNBench(ToyEngine)
    arguments = (bench,) if case is None else (bench, case)
    run = getattr(TestToyEngine(), test)
    run(*arguments)
    spoil(monkeypatch)
    with pytest.raises(AssertionError):
        run(*arguments)


# ---- Neutral and native --------------------------------------------------------------------------


class NativeOnly(ToyEngine):
    name = "native-only"
    capabilities = dataclasses.replace(ToyEngine.capabilities, neutral=False)


class Plugin:
    @hookimpl
    def mox_engine(self, name):
        return {"toy": ToyEngine, "native-only": NativeOnly}[name]()


@pytest.fixture
def engines():
    for name in ("toy", "native-only"):
        get_manager().register(Plugin(), name, kind="engine")
    yield
    for name in ("toy", "native-only"):
        get_manager().unregister(name, kind="engine")


def neutral(inputs, mode):
    loss = mox.nn.l2_loss(mox.nn.fully_connected(inputs[0], 2))
    return mox.ModelSpec(loss=loss)


def native(inputs, mode):
    return mox.ModelSpec(loss=toy.mean(toy.square(inputs[0] @ toy.variable("w", (3, 2)))))


def run(model_fn, engine, **arguments):
    fields = {
        "input_fn": lambda mode: [np.ones((4, 3), np.float32)] * 3,
        "optimizer_fn": mox.get_optimizer_fn("sgd", 0.1),
        "run_mode": mox.ModeKeys.TRAIN,
    }
    return mox.run(model_fn=model_fn, engine=engine, **{**fields, **arguments})


def test_functions_are_neutral_by_the_name_of_the_engine(engines):
    assert run(neutral, "toy").steps == 3


def test_functions_are_native_in_a_dict_and_for_an_engine_object(engines):
    assert run({"toy": native, "tf": native}, "toy").steps == 3
    assert run(native, ToyEngine()).steps == 3
    inputs = {"toy": lambda mode: [np.ones((4, 3))] * 2}
    optimizers = {"toy": lambda: toy.Sgd(0.1)}
    result = run({"toy": native}, "toy", input_fn=inputs, optimizer_fn=optimizers)
    assert result.steps == 2


def test_a_dict_without_the_engine(engines):
    with pytest.raises(SpecError) as error:
        run({"tf": native, "torch": native}, "toy")
    assert str(error.value).startswith(
        "model_fn is given for 'tf', 'torch', and this run uses engine 'toy'."
    )
    with pytest.raises(SpecError, match=r"model_fn\['tf'\] is an int"):
        run({"tf": 3}, "toy")


def test_an_engine_that_is_native_only(engines):
    with pytest.raises(EngineError) as error:
        run(neutral, "native-only")
    assert "engine 'native-only' does not run neutral scripts" in str(error.value)
    assert "model_fn={'native-only': model_fn}" in str(error.value)
    assert run({"native-only": native}, "native-only").steps == 3
