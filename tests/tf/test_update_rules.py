"""What shapes an update besides the optimizer: clipping, patterns, loss scales, dtypes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import tensorflow.compat.v1 as tf

import mox_core as mox
import mox_tf
from mox_core.engine import Fetch
from mox_core.errors import SpecError

GRADIENTS = {"a": 3.0, "b": -4.0}


def ones(mode):
    return tf.data.Dataset.from_tensor_slices(np.ones([40, 1], np.float32)).batch(1)


def two_variables(inputs, mode):
    """Gradients 3 and -4, of norm 5."""
    loss = tf.zeros([])
    for name, gradient in GRADIENTS.items():
        loss += gradient * tf.get_variable(f"{name}/weight", [], initializer=tf.zeros_initializer())
    return mox.ModelSpec(loss=loss * tf.squeeze(inputs[0]))


def updates(bench, *, towers=2, model_fn=two_variables, **flags):
    """How far one step of plain gradient descent at rate 1 moved the variables."""
    program = bench.train(
        ones, model_fn, mox_tf.get_optimizer_fn("sgd", 1.0), towers=towers, flags=flags
    )
    bench.run(program, 1)
    return [float(program.variables()[f"{name}/weight"]) for name in GRADIENTS]


# ---- Clipping ------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable_update", ["parameter_server", "replicated"])
@pytest.mark.parametrize(
    ("kind", "limit", "expected"),
    [
        ("norm", 1.0, [-0.6, 0.8]),
        ("norm", 10.0, [-3, 4]),
        ("value", 3.5, [-3, 3.5]),
        ("value", 1.0, [-1, 1]),
    ],
)
@pytest.mark.parametrize("scale", [1.0, 1024.0, "dynamic"])
def test_gradients_are_clipped(bench, variable_update, kind, limit, expected, scale):
    moved = updates(
        bench,
        gradient_clip_type=kind,
        gradient_clip=limit,
        loss_scale=scale,
        variable_update=variable_update,
    )
    assert moved == pytest.approx(expected, rel=1e-6)


def test_gradients_of_rows_are_clipped(bench):
    def model_fn(inputs, mode):
        table = tf.get_variable("table", [4, 1], initializer=tf.zeros_initializer())
        return mox.ModelSpec(loss=5 * tf.reduce_sum(tf.nn.embedding_lookup(table, [1, 3])))

    for kind, moved in (("value", -2.0), ("norm", -2.0 / 2**0.5)):
        program = bench.train(
            ones,
            model_fn,
            mox_tf.get_optimizer_fn("sgd", 1.0),
            flags={"gradient_clip_type": kind, "gradient_clip": 2.0},
        )
        bench.run(program, 1)
        expected = [[0], [moved], [0], [moved]]
        np.testing.assert_allclose(program.variables()["table"], expected, rtol=1e-6)


# ---- Trainable patterns --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"trainable_include_patterns": "^a/"}, [-3, 0]),
        ({"trainable_exclude_patterns": "^a/"}, [0, 4]),
        ({"trainable_include_patterns": "a, b", "trainable_exclude_patterns": "b/w"}, [-3, 0]),
    ],
)
@pytest.mark.parametrize("variable_update", ["parameter_server", "replicated"])
def test_patterns_choose_what_is_trained(bench, flags, expected, variable_update):
    assert updates(bench, variable_update=variable_update, **flags) == expected


def test_patterns_that_leave_nothing_are_refused(bench):
    with pytest.raises(SpecError, match="leave no variable to train.*\n.*a/weight, b/weight"):
        updates(bench, trainable_include_patterns="typo")


# ---- Loss scales and half precision --------------------------------------------------------------


def half_precision(dtype):
    """A gradient too small for float16, over variables that are stored in float32."""

    def model_fn(inputs, mode):
        with mox_tf.var_scope(force_dtype=tf.float32):
            weight = tf.get_variable("weight", [], dtype=dtype, initializer=tf.zeros_initializer())
        assert weight.dtype == dtype
        assert [v.dtype.base_dtype for v in tf.trainable_variables()] == [tf.float32]
        small = tf.cast(tf.squeeze(inputs[0]), dtype) * tf.constant(2.0**-13, dtype)
        return mox.ModelSpec(loss=weight * small * small)

    return model_fn


@pytest.mark.parametrize(
    ("dtype", "scale", "expected"),
    [
        (tf.float16, 1.0, 0.0),
        (tf.float16, 1024.0, -(2.0**-26)),
        (tf.float16, "dynamic", -(2.0**-26)),
        (tf.bfloat16, 1.0, -(2.0**-26)),
    ],
    ids=str,
)
def test_a_loss_scale_keeps_small_gradients_of_half_precision(bench, dtype, scale, expected):
    program = bench.train(
        ones,
        half_precision(dtype),
        mox_tf.get_optimizer_fn("sgd", 1.0),
        flags={"loss_scale": scale},
    )
    bench.run(program, 1)
    assert float(program.variables()["weight"]) == expected


def overflowing(inputs, mode):
    """A gradient of 1, on whose way back the scaled one is infinite above a scale of 2 ** 14."""
    weight = tf.get_variable("weight", [], initializer=tf.zeros_initializer())
    one = tf.squeeze(inputs[0])
    return mox.ModelSpec(loss=(weight * (one * 2.0**-113)) * (one * 2.0**113))


@pytest.mark.parametrize("variable_update", ["parameter_server", "replicated"])
def test_a_step_that_overflows_is_left_out_and_halves_the_scale(bench, variable_update):
    program = bench.train(
        ones,
        overflowing,
        lambda: tf.train.AdamOptimizer(1.0),
        towers=2,
        flags={"loss_scale": "dynamic", "variable_update": variable_update},
    )
    results = bench.run(program, 2, Fetch())
    assert (results.steps, results.global_step, results.ended) == (2, 1, None)
    values = program.variables()
    assert values["weight"] == pytest.approx(-1.0)
    assert values["loss_scale/value"] == 2.0**14
    assert values["beta1_power"] == pytest.approx(0.9**2)


def test_the_dynamic_scale_doubles_after_2000_good_steps(bench):
    program = bench.train(
        lambda mode: ones(mode).repeat(), two_variables, flags={"loss_scale": "dynamic"}
    )
    program.assign({"loss_scale/good_steps": np.int64(1997)})
    scales = []
    for _ in range(4):
        bench.run(program, 1, Fetch())
        scales.append(float(program.variables()["loss_scale/value"]))
    assert scales == [2.0**15, 2.0**15, 2.0**16, 2.0**16]


def test_a_checkpoint_without_a_scale_can_go_on_with_one(bench, tmp_path):
    fixed = bench.train(ones, two_variables)
    bench.run(fixed, 1)
    fixed.save(str(tmp_path / "model"))
    dynamic = bench.train(ones, two_variables, flags={"loss_scale": "dynamic"})
    report = dynamic.restore(str(tmp_path / "model"), lambda name: True)
    assert set(report.missing_state) == {"loss_scale/value", "loss_scale/good_steps"}
    assert bench.run(dynamic, 1).global_step == 2


def test_half_precision_trains_as_well_as_full(bench):
    random = np.random.default_rng(0)
    features = random.normal(size=(400, 8)).astype(np.float32)
    labels = (features @ random.normal(size=(8, 1)) > 0).astype(np.float32)

    def model_in(dtype):
        def model_fn(inputs, mode):
            with mox_tf.var_scope(force_dtype=tf.float32):
                weights = tf.get_variable(
                    "weights", [8, 1], dtype=dtype, initializer=tf.zeros_initializer()
                )
            logits = tf.cast(tf.matmul(tf.cast(inputs[0], dtype), weights), tf.float32)
            loss = tf.losses.sigmoid_cross_entropy(inputs[1], logits)
            return mox.ModelSpec(loss=loss, log_info={"loss": loss})

        return model_fn

    losses = {}
    for dtype in (tf.float32, tf.float16, tf.bfloat16):
        program = bench.train(
            lambda mode: tf.data.Dataset.from_tensor_slices((features, labels)).batch(20),
            model_in(dtype),
            mox_tf.get_optimizer_fn("momentum", 0.5),
            flags={"loss_scale": "dynamic"},
        )
        losses[dtype] = bench.run(program, 20).values[0]["loss"]
        assert program.variables()["weights"].dtype == np.float32
    assert losses[tf.float32] < 0.25
    assert losses[tf.float16] == pytest.approx(losses[tf.float32], abs=0.01)
    assert losses[tf.bfloat16] == pytest.approx(losses[tf.float32], abs=0.05)


class Kernels(tf.train.SessionRunHook):
    """Notes in which dtype a step multiplies matrices."""

    def before_run(self, run_context):
        options = tf.RunOptions(output_partition_graphs=True)
        return tf.train.SessionRunArgs(None, options=options)

    def after_run(self, run_context, run_values):
        nodes = [n for graph in run_values.run_metadata.partition_graphs for n in graph.node]
        self.dtypes = {tf.as_dtype(n.attr["T"].type) for n in nodes if "MatMul" in n.op}


@pytest.mark.skipif(
    sys.platform != "linux" or "avx512f" not in Path("/proc/cpuinfo").read_text(),
    reason="on CPUs it is for those with AVX-512",
)
def test_use_fp16_computes_in_half_precision_without_a_change_of_the_script(bench):
    random = np.random.default_rng(0)
    features = random.normal(size=(400, 8)).astype(np.float32)
    labels = (features @ random.normal(size=(8, 1)) > 0).astype(np.float32)

    def model_fn(inputs, mode):
        weights = tf.get_variable("weights", [8, 1], initializer=tf.zeros_initializer())
        loss = tf.losses.sigmoid_cross_entropy(inputs[1], tf.matmul(inputs[0], weights))
        kernels.append(Kernels())
        return mox.ModelSpec(loss=loss, log_info={"loss": loss}, hooks=kernels[-1:])

    kernels, losses = [], []
    for use_fp16 in (False, True):
        program = bench.train(
            lambda mode: tf.data.Dataset.from_tensor_slices((features, labels)).batch(20),
            model_fn,
            mox_tf.get_optimizer_fn("momentum", 0.5),
            flags={"use_fp16": use_fp16, "loss_scale": "dynamic"},
        )
        losses.append(bench.run(program, 20).values[0]["loss"])
        assert program.variables()["weights"].dtype == np.float32
    assert [one.dtypes for one in kernels] == [{tf.float32}, {tf.bfloat16}]
    assert losses[0] < 0.25
    assert losses[1] == pytest.approx(losses[0], abs=0.05)
