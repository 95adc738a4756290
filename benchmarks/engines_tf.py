"""Networks lowered from mox.nn on TensorFlow, beside the same networks written with tf.nn.

    python benchmarks/engines_tf.py
    python benchmarks/engines_tf.py --networks mobilenet --rounds 9 --json results.json

Both are trained by one engine with one optimizer, forward and backward, a batch of 8 images
of 224 x 224, in one process and on one thread, in turns. A figure is the median over the rounds of
the CPU time per step; a ratio is that of the native network over it (1: as fast; more is better).
`softmax` is a small model, batch 100, whose steps show what reading the input costs: from_generator
for the native one, arrays for the neutral one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

import mox_tf
from mox_core import get_optimizer_fn, nn
from mox_core.engine import EngineConfig, Fetch, Program, ProgramRequest
from mox_core.flags import get_flag
from mox_core.spec import ModeKeys, ModelSpec
from mox_tf.engine import TensorFlowEngine

# ---- Written with TensorFlow ---------------------------------------------------------------------


def variable(name, shape, *, first=None, trainable=True):
    first = tf.glorot_uniform_initializer() if first is None else tf.constant_initializer(first)
    return tf.get_variable(name, shape, initializer=first, trainable=trainable)


def norm(x):
    channels = x.shape.as_list()[-1]
    mean = variable("mean", [channels], first=0.0, trainable=False)
    variance = variable("variance", [channels], first=1.0, trainable=False)
    scale, offset = (
        variable("scale", [channels], first=1.0),
        variable("offset", [channels], first=0.0),
    )
    y, batch_mean, batch_variance = tf.nn.fused_batch_norm(
        x, scale, offset, epsilon=0.001, is_training=True
    )
    for moving, batch in ((mean, batch_mean), (variance, batch_variance)):
        update = moving.assign_sub((moving - batch) * 0.001, read_value=False)
        tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, update)
    return y


def conv(x, name, outputs, size, stride, *, padding="SAME", activation=tf.nn.relu):
    with tf.variable_scope(name):
        kernel = variable("weights", [size, size, x.shape[-1], outputs])
        return activation(norm(tf.nn.conv2d(x, kernel, strides=stride, padding=padding)))


def dense(x, name, units):
    with tf.variable_scope(name):
        weights = variable("weights", [x.shape[-1], units])
        return tf.nn.bias_add(tf.matmul(x, weights), variable("biases", [units], first=0.0))


def around(size):
    return [[0, 0], [size // 2] * 2, [size // 2] * 2, [0, 0]]


WIDTHS = (64, 64, 128, 128, 256, 256, 512, 512)


def resnet18(x):
    x = conv(x, "conv", 64, 7, 2, padding=around(7))
    x = tf.nn.max_pool2d(x, ksize=3, strides=2, padding="SAME")
    width = 64
    for i, outputs in enumerate(WIDTHS):
        stride, shortcut = (1, x) if outputs == width else (2, None)
        if shortcut is None:
            shortcut = conv(x, f"short{i}", outputs, 1, stride, activation=tf.identity)
        y = conv(x, f"a{i}", outputs, 3, stride, padding=around(3))
        y = conv(y, f"b{i}", outputs, 3, 1, padding=around(3), activation=tf.identity)
        x, width = tf.nn.relu(shortcut + y), outputs
    return dense(tf.reduce_mean(x, axis=(1, 2)), "logits", 10)


STEPS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *[(512, 1)] * 5,
    (1024, 2),
    (1024, 1),
)


def mobilenet(x):
    x = conv(x, "conv", 32, 3, 2, activation=tf.nn.relu6)
    for i, (outputs, stride) in enumerate(STEPS):
        with tf.variable_scope(f"depthwise{i}"):
            kernel = variable("weights", [3, 3, x.shape[-1], 1])
            strides = (1, stride, stride, 1)
            x = tf.nn.depthwise_conv2d(x, kernel, strides=strides, padding="SAME")
            x = tf.nn.relu6(norm(x))
        x = conv(x, f"pointwise{i}", outputs, 1, 1, activation=tf.nn.relu6)
    return dense(tf.reduce_mean(x, axis=(1, 2)), "logits", 10)


def softmax(x):
    return dense(x, "logits", 10)


# ---- Written with mox.nn -------------------------------------------------------------------------


def conv_over_nn(x, outputs, size, stride, *, padding="SAME", activation=nn.relu):
    return nn.conv2d(
        x,
        outputs,
        kernel_size=size,
        stride=stride,
        padding=padding,
        activation_fn=activation,
        normalizer_fn=nn.batch_norm,
        normalizer_params={"scale": True, "decay": 0.999, "epsilon": 0.001},
    )


def resnet18_over_nn(x):
    x = conv_over_nn(x, 64, 7, 2, padding=((3, 3), (3, 3)))
    x = nn.max_pool2d(x, 3, stride=2, padding="SAME")
    width, pads = 64, ((1, 1), (1, 1))
    for outputs in WIDTHS:
        stride, shortcut = (1, x) if outputs == width else (2, None)
        if shortcut is None:
            shortcut = conv_over_nn(x, outputs, 1, stride, activation=None)
        y = conv_over_nn(x, outputs, 3, stride, padding=pads)
        y = conv_over_nn(y, outputs, 3, 1, padding=pads, activation=None)
        x, width = nn.relu(shortcut + y), outputs
    x = nn.reduce_mean(x, axes=(1, 2))
    return nn.fully_connected(x, 10, activation_fn=None)


def mobilenet_over_nn(x):
    x = conv_over_nn(x, 32, 3, 2, activation=nn.relu6)
    for outputs, stride in STEPS:
        x = nn.separable_conv2d(
            x,
            None,
            kernel_size=3,
            stride=stride,
            activation_fn=nn.relu6,
            normalizer_fn=nn.batch_norm,
            normalizer_params={"scale": True, "decay": 0.999, "epsilon": 0.001},
        )
        x = conv_over_nn(x, outputs, 1, 1, activation=nn.relu6)
    x = nn.reduce_mean(x, axes=(1, 2))
    return nn.fully_connected(x, 10, activation_fn=None)


def softmax_over_nn(x):
    return nn.fully_connected(x, 10, activation_fn=None)


@dataclass(frozen=True)
class Network:
    native: Callable[[Any], Any]
    over_nn: Callable[[Any], Any]
    shape: tuple[int, ...]
    batch: int
    steps: int


NETWORKS = {
    "softmax": Network(softmax, softmax_over_nn, (784,), 100, 1000),
    "resnet18": Network(resnet18, resnet18_over_nn, (224, 224, 3), 8, 2),
    "mobilenet": Network(mobilenet, mobilenet_over_nn, (224, 224, 3), 8, 2),
}

# ---- Both, by the same engine --------------------------------------------------------------------


def build(network: Network, *, neutral: bool) -> Program:
    random = np.random.default_rng(0)
    batches = [
        (
            random.random((network.batch, *network.shape)).astype(np.float32),
            random.integers(0, 10, network.batch),
        )
        for _ in range(4)
    ]

    def endless():
        while True:
            yield from batches

    def native_input(mode):
        return tf.data.Dataset.from_generator(
            endless, (tf.float32, tf.int64), ([None, *network.shape], [None])
        )

    def native_model(inputs, mode):
        images, labels = inputs
        loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels=labels, logits=network.native(images)
            )
        )
        return ModelSpec(loss=loss)

    def neutral_model(inputs, mode):
        images, labels = inputs
        return ModelSpec(loss=nn.sparse_softmax_cross_entropy(network.over_nn(images), labels))

    engine = TensorFlowEngine()
    flags = {"num_inter_threads": 1, "num_intra_threads": 1}
    engine.setup(EngineConfig(1, lambda name: flags.get(name, get_flag(name))))
    program = engine.build(
        ProgramRequest(
            ModeKeys.TRAIN,
            (lambda mode: endless) if neutral else native_input,
            neutral_model if neutral else native_model,
            optimizer_fns=(
                (get_optimizer_fn if neutral else mox_tf.get_optimizer_fn)("momentum", 0.01),
            ),
            neutral=neutral,
        )
    )
    program.start()
    return program


def measure(network: Network, rounds: int) -> dict[str, list[float]]:
    programs = {
        "native": build(network, neutral=False),
        "over mox.nn": build(network, neutral=True),
    }
    found: dict[str, list[float]] = {name: [] for name in programs}
    for number in range(rounds + 1):  # the first one warms up
        for name in list(programs)[:: 1 if number % 2 else -1]:
            begun = time.process_time()
            done = programs[name].run_steps(network.steps, Fetch(), lambda: False)
            assert done.steps == network.steps
            if number:
                found[name].append((time.process_time() - begun) / network.steps)
    for program in programs.values():
        program.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--networks", default=",".join(NETWORKS), help="by commas")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", help="file for the results")
    args = parser.parse_args()
    results: dict[str, Any] = {"tensorflow": tf.__version__, "cores": os.cpu_count()}
    for name in args.networks.split(","):
        network = NETWORKS[name]
        figures = measure(network, args.rounds)
        results[name] = figures
        print(f"\n{name}, batch {network.batch}")
        for contender, seconds in figures.items():
            # Ratios within a round, so that a busy minute slows both sides of each.
            turns = zip(figures["native"], seconds, strict=True)
            ratio = statistics.median(native / own for native, own in turns)
            print(
                f"  {contender:12} {statistics.median(seconds) * 1e3:9.3f} ms   ratio {ratio:.3f}"
            )
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
