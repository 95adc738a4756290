"""Optimizers around optimizers: accumulated gradients, LARS, and both."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import tensorflow.compat.v1 as tf

import mox_core as mox
import mox_tf
from mox_core.engine import Fetch
from mox_core.errors import EngineError, SpecError
from mox_tf.optimizers import _CLASSES as OPTIMIZERS

RANDOM = np.random.default_rng(5)
FEATURES = RANDOM.normal(size=(96, 6)).astype(np.float32)
TARGETS = RANDOM.normal(size=(96, 2)).astype(np.float32)


def batches(size):
    return lambda mode: tf.data.Dataset.from_tensor_slices((FEATURES, TARGETS)).batch(size)


def linear(inputs, mode):
    features, targets = inputs
    weights = tf.get_variable("weights", [6, 2], initializer=tf.glorot_uniform_initializer(seed=1))
    bias = tf.get_variable("bias", [2], initializer=tf.ones_initializer())
    loss = tf.reduce_mean(tf.square(tf.matmul(features, weights) + bias - targets))
    return mox.ModelSpec(loss=loss)


def wrapped(name, inside, **arguments):
    return lambda: mox_tf.get_optimizer_wrapper_fn(name, inside(), **arguments)()


def by_name(name):
    return mox_tf.get_optimizer_fn(name, 0.1)


def close(left, right):
    for name, value in right.items():
        if name != "global_step":
            np.testing.assert_allclose(left[name], value, rtol=2e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_several_batches_are_applied_as_one(bench, name):
    small = bench.train(
        batches(4), linear, wrapped("batch_gradients", by_name(name), num_batches=4)
    )
    large = bench.train(batches(16), linear, by_name(name))
    before = small.variables()
    assert bench.run(small, 3, Fetch()).global_step == 3
    for variable in ("weights", "bias"):
        np.testing.assert_array_equal(small.variables()[variable], before[variable])
    assert bench.run(small, 9, Fetch()).global_step == 12
    bench.run(large, 3, Fetch())
    close(small.variables(), large.variables())


def test_sums_survive_a_restart(bench, tmp_path):
    optimizer = wrapped("batch_gradients", by_name("momentum"), num_batches=4)
    whole = bench.train(batches(4), linear, optimizer)
    bench.run(whole, 4, Fetch())
    first = bench.train(batches(4), linear, optimizer)
    bench.run(first, 3, Fetch())
    first.save(str(tmp_path / "model"))
    second = bench.train(lambda mode: batches(4)(mode).skip(3), linear, optimizer)
    second.restore(str(tmp_path / "model"), lambda name: True)
    bench.run(second, 1, Fetch())
    close(second.variables(), whole.variables())


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_lars_scales_each_layer_as_the_paper_says(bench, weight_decay):
    program = bench.train(
        batches(8),
        linear,
        wrapped(
            "lars",
            lambda: tf.train.GradientDescentOptimizer(2.0),
            ratio=0.1,
            weight_decay=weight_decay,
        ),
    )
    before = program.variables()
    bench.run(program, 1, Fetch())
    after = program.variables()
    w, b, x, y = before["weights"], before["bias"], FEATURES[:8], TARGETS[:8]
    error = x @ w + b - y
    gradient = 2 * x.T @ error / error.size
    norm = np.linalg.norm(w)
    rate = 0.1 * norm / (np.linalg.norm(gradient) + weight_decay * norm)
    expected = w - 2.0 * rate * (gradient + weight_decay * w)
    np.testing.assert_allclose(after["weights"], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        after["bias"], b - 2.0 * 2 * error.sum(axis=0) / error.size, rtol=1e-4
    )


def test_lars_lets_a_variable_of_zeros_start(bench):
    def model_fn(inputs, mode):
        weights = tf.get_variable("weights", [6, 2], initializer=tf.zeros_initializer())
        return mox.ModelSpec(loss=tf.reduce_mean(tf.square(inputs[0] @ weights - inputs[1])))

    program = bench.train(batches(8), model_fn, wrapped("lars", by_name("sgd"), ratio=0.1))
    bench.run(program, 2, Fetch())
    weights = program.variables()["weights"]
    assert np.isfinite(weights).all() and (weights != 0).all()


@pytest.mark.parametrize("variable_update", ["parameter_server", "replicated"])
@pytest.mark.parametrize("scale", [1.0, "dynamic"])
def test_wrappers_nest_in_every_mode(bench, variable_update, scale):
    def nested(num_batches):
        inside = wrapped("lars", by_name("adam"), ratio=0.01, weight_decay=0.001)
        return wrapped("batch_gradients", inside, num_batches=num_batches, sync_on_apply=True)

    flags = {"variable_update": variable_update, "loss_scale": scale}
    two = bench.train(batches(4), linear, nested(2), towers=2, flags=flags)
    assert bench.run(two, 4, Fetch()).global_step == 4
    one = bench.train(batches(16), linear, nested(1))
    bench.run(one, 2, Fetch())
    got, wanted = two.variables(), one.variables()
    assert {name for name in got if "loss_scale" not in name} == set(wanted)
    close(got, wanted)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("larz", {}, "no optimizer wrapper 'larz'.*batch_gradients or lars"),
        ("lars", {"rate": 1}, "unexpected keyword argument 'rate'.*\n.*ratio, weight_decay"),
        ("batch_gradients", {}, "missing a required.*'num_batches'"),
    ],
)
def test_wrappers_that_do_not_exist_are_refused_at_once(name, arguments, message):
    with pytest.raises(SpecError, match=message):
        mox_tf.get_optimizer_wrapper_fn(name, by_name("sgd")(), **arguments)


def test_wrappers_take_an_optimizer_and_a_whole_number():
    with pytest.raises(SpecError, match="it wraps an optimizer"):
        mox_tf.get_optimizer_wrapper_fn("lars", by_name("sgd"))
    with pytest.raises(SpecError, match="num_batches is 0"):
        mox_tf.get_optimizer_wrapper_fn("batch_gradients", by_name("sgd")(), num_batches=0)()


def test_asynchronous_workers_cannot_accumulate(monkeypatch):
    monkeypatch.setenv("MOX_WORKER_HOSTS", "a:1,b:1")
    fn = mox_tf.get_optimizer_wrapper_fn("batch_gradients", by_name("sgd")(), num_batches=2)
    with pytest.raises(EngineError, match="--sync_replicas"):
        fn()
