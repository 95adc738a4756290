"""Losses, gradients, optimizers and learning rates."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import tensorflow.compat.v1 as tf

import mox_core as mox
import mox_tf
from mox_core import optim
from mox_core.engine import Fetch
from mox_core.errors import FlagError, SpecError


def ones(mode):
    return tf.data.Dataset.from_tensors([1.0]).repeat()


def variable(name, value=1.0):
    return tf.get_variable(name, [], initializer=tf.constant_initializer(value))


def square(inputs, mode):
    """Loss w^2, so the gradient is 2w."""
    weight = variable("w")
    return mox.ModelSpec(loss=tf.square(weight) * inputs[0][0], log_info={"w": weight})


# ---- Optimizers by name --------------------------------------------------------------------------

OPTIMIZERS = {
    "adadelta": lambda: tf.train.AdadeltaOptimizer(0.1),
    "adagrad": lambda: tf.train.AdagradOptimizer(0.1),
    "adam": lambda: tf.train.AdamOptimizer(0.1),
    "ftrl": lambda: tf.train.FtrlOptimizer(0.1),
    "momentum": lambda: tf.train.MomentumOptimizer(0.1, 0.9),
    "rmsprop": lambda: tf.train.RMSPropOptimizer(0.1),
    "sgd": lambda: tf.train.GradientDescentOptimizer(0.1),
}


@pytest.mark.parametrize("name", optim.OPTIMIZER_NAMES)
def test_optimizers_by_name_are_those_of_tensorflow(bench, name):
    results = []
    for optimizer_fn in (mox_tf.get_optimizer_fn(name, 0.1), OPTIMIZERS[name]):
        program = bench.train(ones, square, optimizer_fn)
        bench.run(program, 5)
        results.append(program.variables())
    assert results[0] == results[1]
    assert results[0]["w"] != 1.0


def test_an_optimizer_takes_its_arguments():
    with tf.Graph().as_default():
        optimizer = mox_tf.get_optimizer_fn("momentum", 0.1, momentum=0.5, use_nesterov=True)()
        assert optimizer._momentum == 0.5
        assert mox_tf.get_optimizer_fn("momentum", 0.1, None, 0.7)()._momentum == 0.7
        assert mox_tf.get_optimizer_fn("sgd", 0.1, "mine")().get_name() == "mine"


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("sdg", {}, "unknown optimizer 'sdg'.*Did you mean 'sgd'"),
        ("adam", {"beta": 0.9}, "(?s)optimizer 'adam'.*'beta'.*beta1, beta2"),
        ("sgd", {"momentum": 0.9}, "(?s)optimizer 'sgd'.*'momentum'"),
    ],
)
def test_wrong_optimizers_are_refused_at_once(name, arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        mox_tf.get_optimizer_fn(name, 0.1, **arguments)
    assert isinstance(caught.value, SpecError)
    assert len(str(caught.value).splitlines()) <= 2


# ---- Learning rates ------------------------------------------------------------------------------


def rate_summaries(bench, make_rate, steps=8):
    """The learning rates of the first steps, taken from a summary of the optimizer's."""

    def optimizer_fn():
        rate = make_rate()
        tf.summary.scalar("rate", rate)
        return tf.train.GradientDescentOptimizer(rate)

    program = bench.train(ones, square, optimizer_fn)
    found = []
    for _ in range(steps):
        summary = tf.Summary.FromString(bench.run(program, 1, Fetch(summary=True)).summary)
        found.append(summary.value[0].simple_value)
    return found


def test_piecewise_lr_follows_the_global_step(bench):
    from mox_tf import learning_rate_scheduler

    strategy = "1:0.1->0.4,2:0.4=>0.8,3:0.05"
    found = rate_summaries(
        bench, lambda: learning_rate_scheduler.piecewise_lr(strategy, 30, 10), steps=11
    )
    schedule = optim.piecewise_lr(strategy, 30, 10)
    assert found == pytest.approx([schedule(step) for step in range(11)], rel=1e-6)
    assert found[0] == pytest.approx(0.1)


@pytest.mark.parametrize(
    "schedule",
    [
        optim.polynomial_decay(0.4, 5, end_learning_rate=0.1, power=2.0, cycle=True),
        optim.linear_cosine_decay(0.4, 5),
        optim.warm_up(optim.polynomial_decay(0.4, 7), 3, start=0.01),
        optim.constant(0.3),
    ],
    ids=lambda schedule: type(schedule).__name__,
)
def test_schedules_become_tensors(bench, schedule):
    from mox_tf.schedules import schedule_tensor

    found = rate_summaries(bench, lambda: schedule_tensor(schedule))
    assert found == pytest.approx([schedule(step) for step in range(8)], rel=1e-6)


def test_get_optimizer_fn_takes_a_schedule(bench):
    schedule = optim.polynomial_decay(0.4, 5, end_learning_rate=0.0)
    program = bench.train(ones, square, mox_tf.get_optimizer_fn("sgd", schedule))
    weight = 1.0
    for step in range(7):
        bench.run(program)
        weight -= schedule(step) * 2 * weight
        assert program.variables()["w"] == pytest.approx(weight, rel=1e-5)


def test_every_optimizer_of_a_step_sees_the_same_global_step(bench):
    def model_fn(inputs, mode):
        losses = [tf.reduce_sum(inputs[0]) * variable(name, 0.0) for name in "ab"]
        return mox.ModelSpec(loss=losses, var_scopes=[["a"], ["b"]])

    def optimizer_fn():
        step = tf.cast(tf.train.get_global_step(), tf.float32)
        return tf.train.GradientDescentOptimizer(step)

    program = bench.train(ones, model_fn, optimizer_fn)
    for steps in range(1, 30):
        bench.run(program)
        total = -sum(range(steps))
        assert program.variables() == {"a": total, "b": total, "global_step": steps}


# ---- Gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("towers", [1, 2])
def test_gradients_of_rows_stay_sparse(bench, towers):
    def input_fn(mode):
        return tf.data.Dataset.from_tensor_slices([[0, 2], [2, 2]]).repeat()

    def model_fn(inputs, mode):
        table = tf.get_variable("table", [4, 1], initializer=tf.zeros_initializer())
        return mox.ModelSpec(loss=tf.reduce_sum(tf.nn.embedding_lookup(table, inputs[0])))

    program = bench.train(
        input_fn, model_fn, mox_tf.get_optimizer_fn("momentum", 1.0), towers=towers
    )
    bench.run(program)
    expected = {1: [-1, 0, -1, 0], 2: [-0.5, 0, -1.5, 0]}[towers]
    assert program.variables()["table"].ravel().tolist() == expected
    graph = tf.GraphDef.FromString(program.graph_def())
    assert "ResourceSparseApplyMomentum" in {node.op for node in graph.node}


def test_a_variable_of_one_tower_only_gets_the_mean_too(bench):
    calls = []

    def model_fn(inputs, mode):
        calls.append(None)
        first, second = variable("first"), variable("second")
        return mox.ModelSpec(loss=first + (second if len(calls) == 1 else 0.0))

    program = bench.train(ones, model_fn, mox_tf.get_optimizer_fn("sgd", 1.0), towers=2)
    bench.run(program)
    assert program.variables() == {"first": 0.0, "second": 0.5, "global_step": 1}


@pytest.mark.parametrize("towers", [1, 2])
def test_the_loss_scale_changes_no_result(bench, towers):
    program = bench.train(ones, square, towers=towers, flags={"loss_scale": 1024.0})
    bench.run(program)
    assert program.variables()["w"] == pytest.approx(1 - 0.1 * 2)


def test_a_loss_scale_that_is_no_number_is_refused(bench):
    with pytest.raises(FlagError, match="loss_scale"):
        bench.train(ones, square, flags={"loss_scale": "much"})


# ---- What is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make_spec", "message"),
    [
        (lambda w, x: mox.ModelSpec(loss=tf.reduce_sum(x)), "loss does not depend on any"),
        (lambda w, x: mox.ModelSpec(loss=w, var_scopes=["v"]), "(?s)scopes v.*model's are w"),
        (lambda w, x: mox.ModelSpec(loss=tf.cast(w, tf.int32)), "dtype int32"),
        (lambda w, x: mox.ModelSpec(loss=object()), "ModelSpec.loss is an object"),
        (lambda w, x: mox.ModelSpec(loss=x), r"ModelSpec.loss has shape \(1,\) in mode TRAIN"),
        (lambda w, x: mox.ModelSpec(loss=[w, x]), r"ModelSpec.loss\[1\] has shape"),
        (lambda w, x: mox.ModelSpec(loss=w, log_info={"x": x}), r"log_info\['x'\] has shape"),
    ],
    ids=[
        "no_gradient",
        "no_variable",
        "integer",
        "no_tensor",
        "loss_no_scalar",
        "second_loss_no_scalar",
        "log_info_no_scalar",
    ],
)
def test_losses_that_do_not_fit_are_refused(bench, make_spec, message):
    def model_fn(inputs, mode):
        return make_spec(variable("w"), inputs[0])

    with pytest.raises(SpecError, match=message) as caught:
        bench.train(ones, model_fn)
    assert len(str(caught.value).splitlines()) <= 2


def test_an_optimizer_that_is_none_is_refused(bench):
    with pytest.raises(SpecError, match="optimizer_fn returned a float"):
        bench.train(ones, square, lambda: 0.1)


def test_the_first_loss_that_is_not_finite_ends_the_steps(bench):
    def input_fn(mode):
        return tf.data.Dataset.from_tensor_slices([[1.0], [np.inf], [1.0]])

    program = bench.train(input_fn, square)
    results = bench.run(program, 3)
    assert (results.steps, results.ended, results.nonfinite) == (2, "nan", ("loss",))
    assert program.nonfinite_variables() == ["w"]
    ignoring = bench.train(input_fn, square, stop_on_nan=False)
    assert bench.run(ignoring, 3).steps == 3


def test_the_seed_of_the_script_counts(bench):
    def model_fn(inputs, mode):
        weights = tf.get_variable("weights", [100])
        return mox.ModelSpec(loss=tf.reduce_sum(weights))

    def initial(seed):
        with tf.Graph().as_default():
            tf.set_random_seed(seed)
            return bench.train(ones, model_fn).variables()["weights"]

    assert np.array_equal(initial(1), initial(1))
    assert not np.array_equal(initial(1), initial(2))
