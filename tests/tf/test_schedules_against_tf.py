from __future__ import annotations

import inspect

import numpy as np
import pytest

from mox_core.optim import (
    OPTIMIZERS,
    REQUIRED,
    linear_cosine_decay,
    piecewise_lr,
    polynomial_decay,
    warm_up,
)

tf = pytest.importorskip("tensorflow").compat.v1

STEPS = [0, 1, 2, 49, 50, 51, 99, 100, 101, 150, 199, 200, 201, 250, 1000]


def values_in_tensorflow(build):
    """Run `build(global_step)` in a graph, at all steps."""
    with tf.Graph().as_default(), tf.Session() as session:
        step = tf.placeholder(tf.int64, [])
        rate = build(step)
        rate = rate() if callable(rate) else rate
        return [session.run(rate, {step: value}) for value in STEPS]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"power": 2.0, "end_learning_rate": 0.01},
        {"power": 0.5, "end_learning_rate": 0.01, "cycle": True},
    ],
)
def test_polynomial_decay(options):
    expected = values_in_tensorflow(
        lambda step: tf.train.polynomial_decay(0.3, step, 100, **options)
    )
    ours = polynomial_decay(0.3, 100, **options)
    np.testing.assert_allclose([ours(step) for step in STEPS], expected, rtol=2e-4, atol=1e-7)


@pytest.mark.parametrize("options", [{}, {"num_periods": 2.5, "alpha": 0.2, "beta": 0.01}])
def test_linear_cosine_decay(options):
    expected = values_in_tensorflow(
        lambda step: tf.train.linear_cosine_decay(0.3, step, 200, **options)
    )
    ours = linear_cosine_decay(0.3, 200, **options)
    np.testing.assert_allclose([ours(step) for step in STEPS], expected, rtol=1e-4, atol=1e-7)


class GraphOps:
    """TensorFlow's operations on float32, as an engine would give them."""

    where = staticmethod(tf.where)
    less = staticmethod(tf.less)
    minimum = staticmethod(tf.minimum)
    maximum = staticmethod(tf.maximum)
    ceil = staticmethod(tf.ceil)
    power = staticmethod(tf.pow)
    cos = staticmethod(tf.cos)

    @staticmethod
    def to_float(value):
        return tf.cast(value, tf.float32)


@pytest.mark.parametrize(
    "schedule",
    [
        piecewise_lr("5:0.1->0.4,10:0.4=>0.8,15:0.8,20:0.08", 1000, 100),
        warm_up(polynomial_decay(0.3, 100, power=2.0, cycle=True), 50, start=0.01),
        linear_cosine_decay(0.3, 200),
    ],
    ids=["piecewise", "warm_up", "linear_cosine"],
)
def test_the_same_formula_in_a_graph(schedule):
    values = values_in_tensorflow(lambda step: schedule.evaluate(step, GraphOps()))
    np.testing.assert_allclose(values, [schedule(step) for step in STEPS], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [
        ("adadelta", tf.train.AdadeltaOptimizer),
        ("adagrad", tf.train.AdagradOptimizer),
        ("adam", tf.train.AdamOptimizer),
        ("ftrl", tf.train.FtrlOptimizer),
        ("momentum", tf.train.MomentumOptimizer),
        ("rmsprop", tf.train.RMSPropOptimizer),
        ("sgd", tf.train.GradientDescentOptimizer),
    ],
)
def test_optimizer_defaults_are_those_of_tensorflow_1(name, optimizer):
    parameters = inspect.signature(optimizer).parameters
    for parameter, default in OPTIMIZERS[name].items():
        expected = parameters[parameter].default
        assert default == (REQUIRED if expected is inspect.Parameter.empty else expected)
