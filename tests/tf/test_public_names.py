"""What scripts of MoXing import besides mox.run, and what they do with it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import tensorflow.compat.v1 as tf

import mox_core
import mox_tf as mox

OF_TENSORFLOW = {
    "AggregativeSessionRunHook",
    "FeedSessionRunHook",
    "ImageClassificationRawDataset",
    "ImageClassificationTFRecordDataset",
    "InputSpec",
    "MultilabelClassificationRawDataset",
    "TensorFlowEngine",
    "datasets",
    "executor",
    "get_collection",
    "get_data_augmentation_fn",
    "get_dataset",
    "get_model_fn",
    "get_optimizer_fn",
    "get_optimizer_wrapper_fn",
    "get_tfrecord",
    "learning_rate_scheduler",
    "preprocessing",
    "run",
    "utils",
    "var_scope",
}


def test_the_public_names_are_these():
    assert set(mox.__all__) == OF_TENSORFLOW | set(mox_core.__all__)
    for name in mox.__all__:
        assert getattr(mox, name) is not None


def test_modules_by_the_names_that_scripts_use(monkeypatch):
    from mox_tf.executor.hooks import FeedSessionRunHook
    from mox_tf.executor.ops_adapter import rank, size
    from mox_tf.utils.tf_util import version_info

    assert FeedSessionRunHook is mox.FeedSessionRunHook
    assert tf.version.VERSION.startswith("{}.{}.".format(*version_info()))
    assert (rank(), size()) == (0, 1)
    monkeypatch.setenv("MOX_WORKER_HOSTS", "a:1,b:1,c:1")
    monkeypatch.setenv("MOX_TASK_INDEX", "2")
    assert (rank(), size()) == (2, 3)


@pytest.mark.parametrize("towers", [1, 2])
def test_a_hook_feeds_the_placeholders_of_its_tower(bench, towers):
    made = []

    def model_fn(inputs, mode):
        made.append(tf.placeholder(tf.float32, [2]))
        hook = mox.FeedSessionRunHook(feed_dict={made[-1]: [1.0, float(len(made))]})
        return mox.ModelSpec(log_info={"sum": tf.reduce_sum(made[-1])}, hooks=[hook])

    program = bench.eval(lambda mode: [tf.constant(0.0)], model_fn, towers=towers)
    for _ in range(2):
        values = bench.run(program).values
        assert [one["sum"] for one in values] == [2.0, 3.0][:towers]


@pytest.mark.parametrize("towers", [1, 2])
def test_an_input_spec_reaches_model_fn(bench, towers):
    numbers = np.arange(12, dtype=np.float32)

    def input_fn(mode):
        first, second = tf.data.make_one_shot_iterator(
            tf.data.Dataset.from_tensor_slices((numbers, -numbers)).batch(3)
        ).get_next()
        spec = mox.InputSpec(split_to_device=True)
        spec.new_input([first, second])
        spec.new_input([first])
        return spec

    def model_fn(inputs, mode):
        first, second = inputs.get_input(0)
        (again,) = inputs.get_input(1)
        total = tf.reduce_sum(again)
        weight = tf.get_variable("weight", initializer=tf.ones([]))
        export = mox.ExportSpec({"first": first}, {"total": total, "weight": weight})
        info = {"total": total, "zero": tf.reduce_sum(first + second)}
        return mox.ModelSpec(loss=total * weight, log_info=info, export_spec=export)

    program = bench.train(input_fn, model_fn, towers=towers)
    values = bench.run(program).values
    assert [one["total"] for one in values] == [3.0, 12.0][:towers]
    assert {one["zero"] for one in values} == {0.0}
    exported = bench.export(program, model_fn)
    assert exported.export_spec.inputs_dict["first"].shape.as_list() == [None]
