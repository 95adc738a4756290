"""--variable_update: the same training, whether towers share variables or have copies of them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import tensorflow.compat.v1 as tf

import mox_core as mox
import mox_tf
from mox_core.engine import Fetch
from mox_core.errors import EngineError, SpecError
from mox_core.optim import piecewise_lr
from mox_tf.all_reduce import all_reduce_mean
from mox_tf.devices import Placement

MODES = ["parameter_server", "replicated", "distributed_replicated"]
WITH_COPIES = MODES[1:]
SAMPLES, FEATURES, CLASSES = 240, 12, 3
RANDOM = np.random.default_rng(3)
IMAGES = RANDOM.normal(size=(SAMPLES, FEATURES)).astype(np.float32)
LABELS = IMAGES[:, :CLASSES].argmax(axis=1)


def batches(size):
    return lambda mode: tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(size)


def cross_entropy(logits, labels):
    return tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    )


def softmax(inputs, mode):
    images, labels = inputs
    weights = tf.get_variable("weights", [FEATURES, CLASSES], initializer=tf.zeros_initializer())
    bias = tf.get_variable("bias", [CLASSES], initializer=tf.zeros_initializer())
    loss = cross_entropy(tf.matmul(images, weights) + bias, labels)
    return mox.ModelSpec(loss=loss, log_info={"loss": loss})


def regularized(inputs, mode):
    """A regularizer of a variable, and an L2 loss over tf.trainable_variables()."""
    images, labels = inputs
    weights = tf.get_variable(
        "weights",
        [FEATURES, CLASSES],
        initializer=tf.glorot_uniform_initializer(seed=1),
        regularizer=lambda variable: 0.01 * tf.nn.l2_loss(variable),
    )
    loss = cross_entropy(tf.matmul(images, weights), labels)
    loss += 0.1 * tf.add_n([tf.nn.l2_loss(v) for v in tf.trainable_variables()])
    return mox.ModelSpec(loss=loss + tf.losses.get_regularization_loss())


def conv_parts(images, labels, training, parts):
    """A convolution with batch norm by hand; each part of the batch has statistics of its own."""
    losses = []
    for part, labels_of_part in zip(tf.split(images, parts), tf.split(labels, parts), strict=True):
        with tf.variable_scope("net", reuse=tf.AUTO_REUSE):
            kernel = tf.get_variable(
                "kernel", [3, 1, 4], initializer=tf.glorot_uniform_initializer(seed=2)
            )
            scale = tf.get_variable("scale", [4], initializer=tf.ones_initializer())
            moving = tf.get_variable(
                "moving_mean", [4], initializer=tf.zeros_initializer(), trainable=False
            )
            net = tf.nn.conv1d(tf.expand_dims(part, 2), kernel, stride=1, padding="SAME")
            mean, variance = tf.nn.moments(net, axes=[0, 1])
            tf.add_to_collection(
                tf.GraphKeys.UPDATE_OPS, tf.assign(moving, 0.9 * moving + 0.1 * mean)
            )
            if not training:
                mean = moving
            net = tf.nn.relu((net - mean) * tf.rsqrt(variance + 1e-3) * scale)
            weights = tf.get_variable(
                "dense", [FEATURES * 4, CLASSES], initializer=tf.glorot_uniform_initializer(seed=3)
            )
            logits = tf.matmul(tf.reshape(net, [-1, FEATURES * 4]), weights)
            losses.append(cross_entropy(logits, labels_of_part))
    return tf.add_n(losses) / parts


def conv_net(inputs, mode, parts=1):
    loss = conv_parts(*inputs, mode == "TRAIN", parts)
    if parts > 1:  # towers run the update operations of the first one
        first = tf.get_collection(tf.GraphKeys.UPDATE_OPS)[0]
        tf.get_collection_ref(tf.GraphKeys.UPDATE_OPS)[:] = [first]
    return mox.ModelSpec(loss=loss, log_info={"loss": loss})


def momentum():
    return tf.train.MomentumOptimizer(0.1, 0.9)


def largest_difference(left, right):
    assert left.keys() == right.keys()
    return max(np.abs(left[name] - right[name]).max() for name in left)


class Copies(tf.train.SessionRunHook):
    """Remembers what a tower computes with, and looks at it after every step."""

    def __init__(self):
        self.variables = tf.trainable_variables()
        self.values = None

    def after_run(self, run_context, run_values):
        self.values = run_context.session.run(self.variables)


def spying(model_fn, hooks):
    def spied(inputs, mode):
        spec = model_fn(inputs, mode)
        hooks.append(Copies())
        return mox.ModelSpec(loss=spec.loss, log_info=spec.log_info, hooks=hooks[-1:])

    return spied


def train(bench, mode, *, towers=2, steps=5, size=12, model_fn=softmax, optimizer=momentum, **more):
    program = bench.train(
        batches(size),
        model_fn,
        optimizer,
        towers=towers,
        flags={"variable_update": mode, **more},
    )
    if steps:
        assert bench.run(program, steps, Fetch()).global_step == steps
    return program


# ---- Results -------------------------------------------------------------------------------------


@pytest.mark.parametrize("towers", [2, 4])
@pytest.mark.parametrize("mode", MODES)
def test_towers_equal_one_with_the_whole_batch(bench, mode, towers):
    several = train(bench, mode, towers=towers, size=48 // towers)
    one = train(bench, mode, towers=1, size=48)
    assert largest_difference(several.variables(), one.variables()) < 1e-6


@pytest.mark.parametrize("mode", MODES)
def test_batch_norm_uses_the_statistics_of_each_tower_and_keeps_those_of_the_first(bench, mode):
    two = train(bench, mode, model_fn=conv_net)
    by_hand = train(
        bench, mode, towers=1, size=24, model_fn=lambda inputs, mode: conv_net(inputs, mode, 2)
    )
    assert "net/moving_mean" in two.variables()
    assert largest_difference(two.variables(), by_hand.variables()) < 1e-5


@pytest.mark.parametrize("mode", WITH_COPIES)
def test_losses_over_variables_count_in_every_tower(bench, mode):
    shared = train(bench, "parameter_server", model_fn=regularized)
    copied = train(bench, mode, model_fn=regularized)
    one = train(bench, mode, model_fn=regularized, towers=1, size=24)
    assert largest_difference(copied.variables(), shared.variables()) < 1e-6
    assert largest_difference(copied.variables(), one.variables()) < 1e-6


@pytest.mark.parametrize(
    "name", ["adadelta", "adagrad", "adam", "ftrl", "momentum", "rmsprop", "sgd"]
)
def test_every_optimizer_updates_every_copy_alike(bench, name):
    results = []
    for mode in ("parameter_server", "replicated"):
        hooks = []
        optimizer = mox_tf.get_optimizer_fn(name, piecewise_lr("1:0.1,2:0.02", 48, 24))
        program = train(bench, mode, model_fn=spying(softmax, hooks), optimizer=optimizer, steps=6)
        results.append(program.variables())
        first, second = (hook.values for hook in hooks)
        for left, right in zip(first, second, strict=True):
            np.testing.assert_array_equal(left, right)
    assert largest_difference(*results) < 1e-6


@pytest.mark.parametrize("mode", WITH_COPIES)
def test_each_tower_computes_with_variables_of_its_own(bench, mode):
    hooks = []
    train(bench, mode, model_fn=spying(softmax, hooks))
    names = [[variable.op.name for variable in hook.variables] for hook in hooks]
    assert names[1] == ["replica_1/weights", "replica_1/bias"]
    assert names[0] == (
        ["weights", "bias"] if mode == "replicated" else ["replica_0/weights", "replica_0/bias"]
    )
    devices = [variable.device[-5:].upper() for hook in hooks for variable in hook.variables]
    assert devices == ["CPU:0", "CPU:0", "CPU:1", "CPU:1"]


@pytest.mark.parametrize("mode", MODES)
def test_gradients_of_rows_are_summed_over_the_towers(bench, mode):
    rows = np.array([[0, 1], [1, 2], [2, 3], [3, 3]])

    def model_fn(inputs, mode):
        table = tf.get_variable("table", [5, 2], initializer=tf.ones_initializer())
        return mox.ModelSpec(loss=tf.reduce_sum(tf.nn.embedding_lookup(table, inputs[0])))

    program = bench.train(
        lambda mode: tf.data.Dataset.from_tensor_slices(rows).batch(2),
        model_fn,
        mox_tf.get_optimizer_fn("sgd", 0.1),
        towers=2,
        flags={"variable_update": mode},
    )
    bench.run(program, 1)
    counts = np.bincount(rows.ravel(), minlength=5)
    expected = np.repeat(1 - 0.1 * counts[:, None] / 2, 2, axis=1)
    np.testing.assert_allclose(program.variables()["table"], expected, rtol=1e-6)


@pytest.mark.parametrize("mode", WITH_COPIES)
def test_several_losses_train_their_scopes(bench, mode):
    def model_fn(inputs, mode):
        images, labels = inputs
        losses = []
        for scope in ("one", "two"):
            with tf.variable_scope(scope):
                losses.append(softmax(inputs, mode).loss)
        return mox.ModelSpec(loss=losses, var_scopes=[["one"], ["two"]])

    optimizers = (mox_tf.get_optimizer_fn("adam", 0.1), momentum)
    copied, shared = (
        train(bench, which, model_fn=model_fn, optimizer=optimizers).variables()
        for which in (mode, "parameter_server")
    )
    assert largest_difference(copied, shared) < 1e-6


# ---- Checkpoints ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", WITH_COPIES)
def test_copies_follow_restored_and_assigned_variables(bench, tmp_path, mode):
    source = train(bench, "parameter_server", towers=1, steps=3)
    source.save(str(tmp_path / "model"))
    whole = train(bench, "parameter_server", towers=1, steps=0, size=24)
    two = train(bench, mode, steps=0)
    for program in (whole, two):
        program.restore(str(tmp_path / "model"), lambda name: True)
        bench.run(program, 2)
    assert largest_difference(two.variables(), whole.variables()) < 1e-6
    values = {name: np.full_like(value, 1) for name, value in two.variables().items()}
    for program in (whole, two):
        program.assign(values)
        bench.run(program, 2)
    assert largest_difference(two.variables(), whole.variables()) < 1e-6


@pytest.mark.parametrize("mode", WITH_COPIES)
def test_checkpoints_hold_each_variable_once_and_fit_every_mode(bench, tmp_path, mode):
    four = train(bench, mode, towers=4, size=6, steps=3)
    four.save(str(tmp_path / "model"))
    saved = tf.train.NewCheckpointReader(str(tmp_path / "model")).get_variable_to_shape_map()
    assert saved == {
        "weights": [12, 3],
        "bias": [3],
        "weights/Momentum": [12, 3],
        "bias/Momentum": [3],
        "global_step": [],
    }
    for other in MODES:
        program = train(bench, other, steps=0)
        report = program.restore(str(tmp_path / "model"), lambda name: True)
        assert not report.missing and not report.missing_state
        assert largest_difference(program.variables(), four.variables()) == 0


@pytest.mark.parametrize("mode", WITH_COPIES)
def test_a_run_trains_exports_and_evaluates_with_copies(tmp_path, monkeypatch, mode):
    monkeypatch.setenv("MOX_VARIABLE_UPDATE", mode)
    monkeypatch.setenv("MOX_NUM_GPUS", "2")

    def model_fn(inputs, mode):
        spec = softmax(inputs, mode)
        tf.summary.scalar("my_loss", spec.loss)
        tf.summary.image("my_image", tf.reshape(inputs[0], [-1, 3, 4, 1]), max_outputs=1)
        logits = spec.loss * tf.ones([1])
        export = mox.ExportSpec(
            {"images": inputs[0], "labels": inputs[1]}, {"loss": logits, "images": inputs[0]}
        )
        return mox.ModelSpec(loss=spec.loss, log_info=spec.log_info, export_spec=export)

    def optimizer_fn():
        rate = tf.constant(0.1)
        tf.summary.scalar("rate", rate)
        return tf.train.AdamOptimizer(rate)

    arguments = {"input_fn": batches(24), "model_fn": model_fn, "log_dir": str(tmp_path)}
    result = mox_tf.run(
        **arguments,
        optimizer_fn=optimizer_fn,
        run_mode=mox.ModeKeys.TRAIN,
        save_summary_steps=2,
        export_model=mox.ExportKeys.TF_SERVING,
    )
    assert result.global_step == 5
    events = [
        value
        for path in tmp_path.glob("events.out.*")
        for event in tf.train.summary_iterator(str(path))
        for value in event.summary.value
    ]
    tags = [value.tag for value in events]
    assert tags.count("my_loss") == tags.count("rate") == 3
    assert {tag for tag in tags if "_1" in tag} == set()
    assert any(value.HasField("image") for value in events)

    monkeypatch.setenv("MOX_NUM_GPUS", "1")
    one = mox_tf.run(**arguments, run_mode=mox.ModeKeys.EVAL)
    monkeypatch.setenv("MOX_NUM_GPUS", "2")
    two = mox_tf.run(**arguments, run_mode=mox.ModeKeys.EVAL)
    assert one.metrics == pytest.approx(two.metrics, rel=1e-6)
    with tf.Session(graph=tf.Graph()) as session:
        model = tf.saved_model.load(session, ["serve"], result.export_dir)
        signature = model.signature_def["predict_object"]
        values = session.run(
            {name: output.name for name, output in signature.outputs.items()},
            {signature.inputs["images"].name: IMAGES, signature.inputs["labels"].name: LABELS},
        )
    assert values["loss"][0] == pytest.approx(one.metrics["loss"], rel=1e-5)
    np.testing.assert_array_equal(values["images"], IMAGES)


# ---- What copies cannot do -----------------------------------------------------------------------


@pytest.mark.parametrize("mode", WITH_COPIES)
def test_update_operations_must_not_set_trained_variables(bench, mode):
    def model_fn(inputs, mode):
        spec = softmax(inputs, mode)
        clipped = [tf.assign(v, tf.clip_by_value(v, -1, 1)) for v in tf.trainable_variables()]
        tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, tf.group(*clipped))
        return spec

    train(bench, "parameter_server", model_fn=model_fn)
    with pytest.raises(EngineError, match="sets 'weights'|sets 'bias'"):
        train(bench, mode, model_fn=model_fn)


@pytest.mark.parametrize("mode", WITH_COPIES)
def test_reference_variables_cannot_be_copied(bench, mode):
    def model_fn(inputs, mode):
        with tf.variable_scope("net", use_resource=False):
            return softmax(inputs, mode)

    with pytest.raises(EngineError, match="'net/weights' is a reference variable"):
        train(bench, mode, model_fn=model_fn)


def test_each_tower_needs_an_optimizer_of_its_own(bench):
    optimizer = tf.train.GradientDescentOptimizer(0.1)
    train(bench, "parameter_server", optimizer=lambda: optimizer)
    with pytest.raises(SpecError, match="inside of optimizer_fn"):
        train(bench, "replicated", optimizer=lambda: optimizer)


# ---- The all-reduce ------------------------------------------------------------------------------


def gradients_of(towers, shapes):
    return [
        [None if shape is None else tf.fill(shape, float(tower + 1)) for shape in shapes]
        for tower in range(towers)
    ]


def test_small_gradients_travel_in_packs_and_come_back_in_shape():
    shapes = [[3], [2, 2], [200, 200], None, [], [5, 1]]
    with tf.Graph().as_default() as graph:
        placement = Placement(("/cpu:0", "/cpu:1"), cpus=2, variable_update="replicated")
        (means,) = all_reduce_mean(gradients_of(2, shapes), 2.0, placement)
        sums = [op for op in graph.get_operations() if op.type == "AddN"]
        assert [op.outputs[0].shape.as_list() for op in sums] == [[13], [200, 200]]
        with tf.Session(config=placement.session_config()) as session:
            values = session.run([mean for mean in means if mean is not None])
    for value, shape in zip(values, [s for s in shapes if s is not None], strict=True):
        np.testing.assert_array_equal(value, np.full(shape, 1.5, np.float32))
    assert means[3] is None


def test_gpus_reduce_with_nccl_one_pack_after_the_other():
    with tf.Graph().as_default() as graph:
        placement = Placement(("/gpu:0", "/gpu:1"), variable_update="replicated")
        means = all_reduce_mean(gradients_of(2, [[200, 200], [7]]), 2.0, placement)
        assert [[one.shape.as_list() for one in tower] for tower in means] == [
            [[200, 200], [7]]
        ] * 2
        assert ["GPU:0" in tower[0].device for tower in means] == [True, False]
        reductions = [op for op in graph.get_operations() if op.type == "NcclAllReduce"]
        assert len(reductions) == 4
        first = {op for op in reductions if op.outputs[0].shape.as_list() == [7]}
        for op in set(reductions) - first:
            assert set(op.inputs[0].op.control_inputs) == first
