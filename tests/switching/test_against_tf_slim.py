"""The networks have the variables of TF-slim's own definitions, where tf_slim has these."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import mox_core as mox
from mox_core import nn

pytest.importorskip("tf_slim", reason="the reference; nox -s tests_switching installs it")

# In a process of its own: tf_slim takes a TensorFlow whose Keras is that of version 2.
SLIM = """
import importlib, json, os, sys
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow.compat.v1 as tf
tf.disable_v2_behavior()
for name in ("legacy_tf_layers", "legacy_tf_layers.normalization"):
    sys.modules[f"tf_keras.{name}"] = importlib.import_module(f"tf_keras.src.{name}")
import tf_slim as slim
from tf_slim.nets import inception_v3, resnet_v1, vgg
networks = {
    "vgg_16": (224, 1000, vgg.vgg_arg_scope, vgg.vgg_16),
    "resnet_v1_50": (224, 1000, resnet_v1.resnet_arg_scope, resnet_v1.resnet_v1_50),
    "inception_v3": (299, 1001, inception_v3.inception_v3_arg_scope, inception_v3.inception_v3),
}
found = {}
for name, (size, classes, scope, network) in networks.items():
    with tf.Graph().as_default():
        with slim.arg_scope(scope()):
            network(tf.placeholder(tf.float32, (2, size, size, 3)), classes, is_training=True)
        found[name] = {v.op.name: v.shape.as_list() for v in slim.get_model_variables()}
json.dump(found, sys.stdout)
"""


@pytest.fixture(scope="module")
def slim():
    done = subprocess.run([sys.executable, "-c", SLIM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("name", "size", "classes"),
    [("vgg_16", 224, 1000), ("resnet_v1_50", 224, 1000), ("inception_v3", 299, 1001)],
)
def test_names_and_shapes(slim, name, size, classes):
    def model_fn(inputs, mode):
        logits, _ = mox.get_model_fn(name, mode, classes)(inputs[0])
        return mox.ModelSpec(loss=nn.reduce_mean(logits))

    images = {0: nn.InputSpec((None, size, size, 3), "float32")}
    made = nn.trace(model_fn, images, mox.ModeKeys.TRAIN).graph.variables
    assert {key: list(one.shape) for key, one in made.items()} == slim[name]
