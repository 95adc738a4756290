"""Several towers: the same training as one with the whole batch, and what model_fn sees."""

from __future__ import annotations

import logging
import threading

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import tensorflow.compat.v1 as tf

import mox_core as mox
import mox_tf
from mox_core.engine import Fetch
from mox_core.errors import SpecError


def digits(mnist, batch, steps):
    """The first digits, in order."""
    images, labels = mnist.images[: batch * steps], mnist.labels[: batch * steps]
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(batch)


def classify(logits, labels, extra_loss=0.0):
    loss = extra_loss + tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    )
    return mox.ModelSpec(loss=loss, log_info={"loss": loss}, output_info={"logits": logits})


def softmax(inputs, mode):
    images, labels = inputs
    weights = tf.get_variable("weights", [784, 10], initializer=tf.zeros_initializer())
    bias = tf.get_variable("bias", [10], initializer=tf.zeros_initializer())
    return classify(tf.matmul(images, weights) + bias, labels)


def conv_net(inputs, mode):
    """LeNet-like, in scopes that name themselves, regularized, with batch norm by hand."""
    images, labels = inputs
    net = tf.reshape(images, [-1, 28, 28, 1])
    for channels in (8, 16):
        with tf.variable_scope(None, default_name="conv"):
            kernel = tf.get_variable(
                "kernel",
                [5, 5, net.shape[-1], channels],
                initializer=tf.glorot_uniform_initializer(seed=channels),
                regularizer=lambda weights: 1e-3 * tf.nn.l2_loss(weights),
            )
            net = tf.nn.relu(tf.nn.conv2d(net, kernel, strides=1, padding="SAME"))
            net = tf.nn.max_pool2d(net, 2, 2, padding="SAME")
    net = tf.reshape(net, [-1, 7 * 7 * 16])
    with tf.variable_scope("dense"):
        weights = tf.get_variable(
            "weights",
            [net.shape[-1], 10],
            initializer=tf.glorot_uniform_initializer(seed=1),
            regularizer=lambda weights: 1e-3 * tf.nn.l2_loss(weights),
        )
    regularization = tf.add_n(mox_tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES))
    return classify(tf.matmul(net, weights), labels, regularization)


def momentum():
    return tf.train.MomentumOptimizer(0.05, 0.9)


def largest_difference(left, right):
    assert left.keys() == right.keys()
    return max(np.abs(left[name] - right[name]).max() for name in left)


@pytest.mark.parametrize(("model_fn", "steps"), [(softmax, 30), (conv_net, 3)])
def test_four_towers_equal_one_with_the_whole_batch(bench, mnist, model_fn, steps):
    four = bench.train(lambda mode: digits(mnist, 25, 4 * steps), model_fn, momentum, towers=4)
    one = bench.train(lambda mode: digits(mnist, 100, steps), model_fn, momentum)
    for program in (four, one):
        assert bench.run(program, steps).global_step == steps
    names = {name for name in one.variables() if "Momentum" not in name}
    if model_fn is conv_net:
        assert names == {"conv/kernel", "conv_1/kernel", "dense/weights", "global_step"}
    assert largest_difference(four.variables(), one.variables()) < 1e-6


@pytest.mark.parametrize(("towers", "resource"), [(1, True), (2, True), (1, False), (2, False)])
def test_no_update_overtakes_a_gradient(bench, mnist, towers, resource):
    """With reference variables and ungated gradients such a net gave another result every time."""

    def model_fn(inputs, mode):
        with tf.variable_scope(tf.get_variable_scope(), use_resource=resource):
            return conv_net(inputs, mode)

    def train():
        program = bench.train(
            lambda mode: digits(mnist, 50, 10 * towers), model_fn, momentum, towers=towers
        )
        bench.run(program, 10)
        return program.variables()

    first = train()
    for _ in range(3):
        assert largest_difference(train(), first) == 0


def test_cpus_stand_in_for_gpus_and_say_so(bench, mnist, caplog):
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("there is a GPU")
    with caplog.at_level(logging.INFO, logger="tensorflow"):
        program = bench.train(lambda mode: digits(mnist, 10, 2), softmax, towers=2)
    assert "0 GPUs for 2 towers: logical CPU devices stand in" in caplog.text
    graph = tf.GraphDef.FromString(program.graph_def())
    devices = {node.name: node.device for node in graph.node}
    assert devices["MatMul"].upper().endswith("CPU:0")
    assert devices["tower_1/MatMul"].upper().endswith("CPU:1")
    assert devices["weights"].upper().endswith("CPU:0")


def test_variables_are_on_a_device_of_their_own(mnist):
    from mox_core.engine import ProgramRequest
    from mox_tf.devices import Placement
    from mox_tf.graph import build_graph
    from mox_tf.update_rules import UpdateRules

    placement = Placement(towers=("/cpu:0", "/cpu:1"), parameters="/cpu:2", cpus=3)
    request = ProgramRequest(
        mox.ModeKeys.TRAIN, lambda mode: digits(mnist, 10, 2), softmax, (momentum,)
    )
    graph = build_graph(request, placement, UpdateRules()).graph

    def device(name):
        return graph.get_operation_by_name(name).device.lower().removeprefix("/device:")

    assert [device(name) for name in ("weights", "weights/Momentum")] == ["cpu:2", "cpu:2"]
    assert [device(name) for name in ("MatMul", "tower_1/MatMul")] == ["cpu:0", "cpu:1"]


def test_collections_hold_what_this_tower_added(bench, mnist):
    seen = []

    def model_fn(inputs, mode):
        spec = softmax(inputs, mode)
        tf.losses.add_loss(spec.loss)
        tf.add_to_collection("mine", inputs[0])
        total = tf.losses.get_total_loss()
        seen.append(
            {
                "losses": len(mox_tf.get_collection(tf.GraphKeys.LOSSES)),
                "mine": mox_tf.get_collection("mine") == [inputs[0]],
                "variables": [v.op.name for v in mox_tf.get_collection("trainable_variables")],
            }
        )
        return mox.ModelSpec(loss=total, log_info={"loss": total, "own": spec.loss})

    program = bench.train(lambda mode: digits(mnist, 10, 4), model_fn, towers=2)
    assert seen == [{"losses": 1, "mine": True, "variables": ["weights", "bias"]}] * 2
    for tower in bench.run(program).values:
        assert tower["loss"] == tower["own"]


def test_the_first_towers_update_ops_run(bench):
    def input_fn(mode):
        return tf.data.Dataset.from_tensor_slices([[1.0], [2.0], [3.0], [4.0]])

    def model_fn(inputs, mode):
        weight = tf.get_variable("weight", [], initializer=tf.ones_initializer())
        seen = tf.get_variable("seen", [], initializer=tf.zeros_initializer(), trainable=False)
        mean = tf.reduce_mean(inputs[0])
        tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, seen.assign_add(mean))
        return mox.ModelSpec(loss=weight * mean, log_info={"mean": mean})

    program = bench.train(input_fn, model_fn, towers=2)
    bench.run_to_end(program)
    assert program.variables()["seen"] == 1 + 3
    evaluated = bench.eval(input_fn, model_fn)
    bench.run_to_end(evaluated)
    assert evaluated.variables()["seen"] == 0


def test_a_step_without_data_for_all_towers_changes_nothing(bench):
    last_step_began = threading.Event()

    class Begin(tf.train.SessionRunHook):
        steps = 0

        def before_run(self, run_context):
            self.steps += 1
            if self.steps == 3:
                last_step_began.set()

    def generate():
        yield from ([1.0], [2.0], [3.0], [4.0], [5.0])
        last_step_began.wait()

    def input_fn(mode):
        return tf.data.Dataset.from_generator(generate, tf.float32, tf.TensorShape([1]))

    def model_fn(inputs, mode):
        weight = tf.get_variable("weight", [], initializer=tf.ones_initializer())
        seen = tf.get_variable("seen", [], initializer=tf.zeros_initializer(), trainable=False)
        mean = tf.reduce_mean(inputs[0])
        tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, seen.assign_add(mean))
        return mox.ModelSpec(loss=weight * mean, hooks=[Begin()])

    program = bench.train(input_fn, model_fn, towers=2)
    results = bench.run(program, 5, Fetch())
    assert (results.steps, results.ended) == (2, "data")
    assert program.variables()["seen"] == 1 + 3


def test_summaries_are_those_of_the_first_tower(bench, mnist):
    def model_fn(inputs, mode):
        spec = softmax(inputs, mode)
        tf.summary.scalar("cost", spec.loss)
        tf.summary.histogram("pixels", inputs[0])
        return spec

    program = bench.train(lambda mode: digits(mnist, 10, 4), model_fn, towers=2)
    assert program.summary_tags == {"cost", "pixels"}
    results = bench.run(program, 1, Fetch(values=True, summary=True))
    summary = tf.Summary.FromString(results.summary)
    assert sorted(value.tag for value in summary.value) == ["cost", "pixels"]
    cost = next(value.simple_value for value in summary.value if value.tag == "cost")
    assert cost == pytest.approx(results.values[0]["loss"])
    assert bench.run(program).summary is None


def test_towers_share_a_variable_made_without_get_variable(bench, mnist):
    def model_fn(inputs, mode):
        offset = tf.Variable(0.0, name="offset")
        spec = softmax(inputs, mode)
        return mox.ModelSpec(loss=spec.loss + offset)

    program = bench.train(lambda mode: digits(mnist, 10, 2), model_fn, towers=2)
    bench.run(program)
    values = program.variables()
    assert [name for name in values if "offset" in name] == ["offset"]
    assert values["offset"] == pytest.approx(-0.1)  # its gradient is 1


def test_a_variable_that_towers_cannot_share_is_refused(bench, mnist):
    calls = []

    def model_fn(inputs, mode):
        calls.append(mode)
        offset = tf.Variable(0.0, name="x" * len(calls))
        spec = softmax(inputs, mode)
        return mox.ModelSpec(loss=spec.loss + offset)

    with pytest.raises(SpecError, match="(?s)'tower_1/xx'.*tf.get_variable instead"):
        bench.train(lambda mode: digits(mnist, 10, 1), model_fn, towers=2)


def test_tf_metrics_count_in_local_variables(bench, mnist):
    def model_fn(inputs, mode):
        spec = softmax(inputs, mode)
        _, update = tf.metrics.mean(tf.cast(inputs[1], tf.float32))
        return mox.ModelSpec(log_info={"mean": update}, loss=spec.loss)

    program = bench.eval(lambda mode: digits(mnist, 50, 4), model_fn, towers=2)
    last = bench.run_to_end(program)[-1].values
    halves = np.split(mnist.labels[:200], 4)
    expected = [np.mean(halves[0::2]), np.mean(halves[1::2])]
    assert [tower["mean"] for tower in last] == pytest.approx(expected)
