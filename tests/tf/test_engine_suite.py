"""The TensorFlow engine passes EngineSuite."""

from __future__ import annotations

import pytest

pytest.importorskip("tensorflow")

import tensorflow.compat.v1 as tf

from mox_core.testing import EngineProblem, EngineSuite, SoftmaxModel
from mox_core.testing.engine_problem import FEATURES
from mox_tf.engine import TensorFlowEngine


def inputs(source):
    rows = [None] if source.batched else []
    return tf.data.Dataset.from_generator(
        lambda: iter(source),
        output_types=(tf.float32, tf.int64),
        output_shapes=(tf.TensorShape([*rows, FEATURES]), tf.TensorShape(rows)),
    )


def model(inputs, scope, classes):
    features, labels = inputs
    with tf.variable_scope(scope):
        weights = tf.get_variable("weights", initializer=tf.zeros([FEATURES, classes]))
        bias = tf.get_variable("bias", initializer=tf.zeros([classes]))
    logits = tf.matmul(features, weights) + bias
    loss = tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    )
    right = tf.equal(tf.argmax(logits, axis=1), labels)
    return SoftmaxModel(features, logits, loss, tf.reduce_mean(tf.cast(right, tf.float32)))


def load_exported(export_format, directory):
    assert export_format == "tf_serving"

    def predict(features):
        with tf.Session(graph=tf.Graph()) as session:
            exported = tf.saved_model.load(session, ["serve"], directory)
            signature = exported.signature_def["predict_object"]
            return session.run(
                signature.outputs["logits"].name, {signature.inputs["features"].name: features}
            )

    return predict


class TestTensorFlowEngine(EngineSuite):
    @pytest.fixture
    def make_engine(self):
        return TensorFlowEngine

    @pytest.fixture
    def problem(self):
        return EngineProblem(
            inputs=inputs,
            model=model,
            optimizer=lambda learning_rate: tf.train.MomentumOptimizer(learning_rate, 0.9),
            load_exported=load_exported,
        )
