"""Towers of the TensorFlow engine, beside a session loop written by hand and MirroredStrategy.

    python benchmarks/tf_towers.py
    python benchmarks/tf_towers.py --models softmax --towers 1 2 --rounds 5 --json results.json

mox.run trains; between its stretches of steps a hook runs as many steps of the others, so that all
see the same machine: only the ratios of one run can be compared. Logical CPU devices stand in for
GPUs. The figures are medians over the rounds. Columns: FPS (samples per second of mox.run), speedup
(FPS over towers x FPS of one tower, as the tables of MoXing's manual count it), and the steps per
second of mox.run over those of the others.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow.compat.v1 as tf

import mox_tf as mox
from mox_core.engine import Fetch

BATCH_SIZE = 100
WARM_UP_STEPS = 20
RANDOM = np.random.default_rng(0)

# ---- Models: (images, labels) -> loss, accuracy --------------------------------------------------


def variable(name, shape, scale=0.1):
    return tf.get_variable(name, shape, initializer=tf.truncated_normal_initializer(0, scale, 1))


def classified(logits, labels):
    loss = tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    )
    right = tf.equal(tf.argmax(logits, 1), labels)
    return loss, tf.reduce_mean(tf.cast(right, tf.float32))


def softmax(images, labels):
    weights = tf.get_variable("weights", [784, 10], initializer=tf.zeros_initializer())
    bias = tf.get_variable("bias", [10], initializer=tf.zeros_initializer())
    return classified(tf.matmul(images, weights) + bias, labels)


def lenet(images, labels):
    net = tf.reshape(images, [-1, 28, 28, 1])
    for index, channels in enumerate((32, 64)):
        kernel = variable(f"conv{index}/kernel", [5, 5, net.shape[-1], channels])
        bias = variable(f"conv{index}/bias", [channels])
        net = tf.nn.relu(tf.nn.conv2d(net, kernel, strides=1, padding="SAME") + bias)
        net = tf.nn.max_pool2d(net, 2, 2, padding="SAME")
    net = tf.reshape(net, [-1, 7 * 7 * 64])
    net = tf.nn.relu(tf.matmul(net, variable("fc/weights", [7 * 7 * 64, 512])))
    return classified(tf.matmul(net, variable("logits/weights", [512, 10])), labels)


def resnet_block(images, labels):
    """A bottleneck block of 3 convolutions and a shortcut, on 14 x 14 x 64."""
    net = tf.space_to_depth(tf.reshape(images, [-1, 28, 28, 1]), 2)
    net = tf.nn.conv2d(net, variable("stem", [1, 1, 4, 64]), strides=1, padding="SAME")
    block = net
    for index, (size, channels) in enumerate(((1, 16), (3, 16), (1, 64))):
        kernel = variable(f"conv{index}/kernel", [size, size, block.shape[-1], channels])
        block = tf.nn.conv2d(block, kernel, strides=1, padding="SAME")
        gamma = tf.get_variable(f"conv{index}/gamma", [channels], initializer=tf.ones_initializer())
        beta = tf.get_variable(f"conv{index}/beta", [channels], initializer=tf.zeros_initializer())
        block, _, _ = tf.nn.fused_batch_norm(block, gamma, beta, is_training=True)
        block = tf.nn.relu(block) if index < 2 else block
    net = tf.reduce_mean(tf.nn.relu(net + block), [1, 2])
    return classified(tf.matmul(net, variable("logits", [64, 10])), labels)


def tiny(images, labels):
    """One number: a step that is all overhead."""
    weight = tf.get_variable("weight", [], initializer=tf.ones_initializer())
    return tf.square(weight - 0.5), weight


MODELS = {"softmax": softmax, "lenet": lenet, "resnet_block": resnet_block}


def data(batch_size):
    images = RANDOM.random((2000, 784), np.float32)
    labels = RANDOM.integers(0, 10, 2000)
    return tf.data.Dataset.from_tensor_slices((images, labels)).repeat().batch(batch_size)


def optimizer():
    return tf.train.MomentumOptimizer(0.01, 0.9)


# ---- The others: each returns a function that runs one step --------------------------------------


def session_in(graph, towers):
    config = tf.ConfigProto(device_count={"CPU": towers}, allow_soft_placement=True)
    return tf.Session(graph=graph, config=config)


def by_hand(model, make_data) -> Callable[[], object]:
    with tf.Graph().as_default() as graph:
        images, labels = tf.data.make_one_shot_iterator(make_data(BATCH_SIZE)).get_next()
        loss, _ = model(images, labels)
        step = tf.train.get_or_create_global_step()
        train_op = optimizer().minimize(loss, global_step=step)
        session = session_in(graph, 1)
        session.run(tf.global_variables_initializer())
    return lambda: session.run([train_op, loss])


def mirrored(model, towers) -> Callable[[], object]:
    with tf.Graph().as_default() as graph:
        strategy = tf.distribute.MirroredStrategy([f"/cpu:{index}" for index in range(towers)])
        with strategy.scope():
            iterator = strategy.make_dataset_iterator(data(BATCH_SIZE * towers))
            tf.train.get_or_create_global_step()
            trainer = optimizer()

            def replica(inputs):
                loss, _ = model(*inputs)
                return trainer.minimize(loss / towers, tf.train.get_global_step()), loss

            train_op, losses = strategy.run(replica, args=(iterator.get_next(),))
            fetches = [strategy.group(train_op), strategy.experimental_local_results(losses)]
            session = session_in(graph, towers)
            session.run(iterator.initialize())
            session.run(tf.global_variables_initializer())
    return lambda: session.run(fetches)


# ---- mox.run, and the hook that takes the times --------------------------------------------------


class Rounds(mox.RunHook):
    """Runs the others between mox's stretches of steps."""

    fetch = Fetch()

    def __init__(self, others, rounds, seconds):
        self.others = others
        self.rounds = rounds
        self.seconds = seconds
        self.times = {name: [] for name in ("mox", *others)}
        self._target = WARM_UP_STEPS - 1
        self._begun = None
        self._steps = 0

    def next_step(self, step):
        return max(step, self._target)

    def on_start(self, run):
        self._begun = time.perf_counter()

    def on_step_end(self, run, results):
        elapsed = time.perf_counter() - self._begun
        if self._steps:
            self.times["mox"].append(elapsed / self._steps)
            for name, one_step in self.others.items():
                self.times[name].append(self._time(one_step))
        else:
            self._steps = max(3, int(self.seconds / (elapsed / WARM_UP_STEPS)))
            for one_step in self.others.values():
                for _ in range(WARM_UP_STEPS):
                    one_step()
        if len(self.times["mox"]) == self.rounds:
            run.stop("measured")
        self._target = run.step + self._steps - 1
        self._begun = time.perf_counter()

    def _time(self, one_step):
        begun = time.perf_counter()
        for _ in range(self._steps):
            one_step()
        return (time.perf_counter() - begun) / self._steps


def measure(model, towers, mode, others, options, make_data=data):
    """Median seconds per step of mox.run, and for each of the others the median of the ratios."""
    mox.set_flag("num_gpus", towers)
    mox.set_flag("variable_update", mode)
    rounds = Rounds(others, options.rounds, options.seconds)

    def model_fn(inputs, mode):
        loss, accuracy = model(*inputs)
        return mox.ModelSpec(loss=loss, log_info={"loss": loss, "accuracy": accuracy})

    mox.run(
        input_fn=lambda mode: make_data(BATCH_SIZE),
        model_fn=model_fn,
        optimizer_fn=optimizer,
        run_mode=mox.ModeKeys.TRAIN,
        batch_size=BATCH_SIZE,
        auto_batch=False,
        hooks=[rounds],
    )
    own = rounds.times["mox"]
    ratios = {
        name: statistics.median(b / a for a, b in zip(own, times, strict=True))
        for name, times in rounds.times.items()
        if name != "mox"
    }
    differences = {
        name: statistics.median(a - b for a, b in zip(own, times, strict=True))
        for name, times in rounds.times.items()
        if name != "mox"
    }
    return statistics.median(own), ratios, differences


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=[*MODELS], default=[*MODELS])
    parser.add_argument("--towers", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.5, help="of one stretch of steps")
    parser.add_argument("--json", help="file for the results")
    options = parser.parse_args()
    mox.set_flag("silent", True)
    mox.set_flag("progress", "off")

    results = []
    print(f"{'model':13} {'variable_update':17} towers   us/step       FPS  speedup  mox.run over")
    for name in options.models:
        model, alone = MODELS[name], None
        for towers in options.towers:
            if towers == 1:
                others = {"by hand": by_hand(model, data)}
            else:
                others = {"MirroredStrategy": mirrored(model, towers)}
            for mode in ("parameter_server", "replicated")[: 1 if towers == 1 else 2]:
                seconds, ratios, _ = measure(model, towers, mode, others, options)
                fps = towers * BATCH_SIZE / seconds
                alone = fps if towers == 1 else alone
                speedup = fps / towers / alone if alone else None
                results.append(
                    {
                        "model": name,
                        "variable_update": mode,
                        "towers": towers,
                        "us_per_step": seconds * 1e6,
                        "fps": fps,
                        "speedup": speedup,
                        "ratios": ratios,
                    }
                )
                text = ", ".join(f"{other}: {ratio:.3f}" for other, ratio in ratios.items())
                shown = f"{speedup:7.3f}" if speedup else "      -"
                print(
                    f"{name:13} {mode:17} {towers:6} {seconds * 1e6:9.0f} {fps:9.0f}  {shown}  "
                    f"{text}",
                    flush=True,
                )

    def constants(batch_size):
        return [tf.zeros([1]), tf.zeros([1])]

    def hand_constants(batch_size):
        return tf.data.Dataset.from_tensors((np.zeros(1), np.zeros(1))).repeat()

    others = {"by hand": by_hand(tiny, hand_constants)}
    seconds, _, differences = measure(tiny, 1, "parameter_server", others, options, constants)
    own = differences["by hand"] * 1e6
    print(f"a step that is all overhead: {seconds * 1e6:.0f} us, {own:+.0f} us beside by hand")
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    record = {
        "machine": machine,
        "tensorflow": tf.version.VERSION,
        "load": os.getloadavg(),
        "results": results,
        "own_us_per_step": own,
    }
    print(f"{machine}, TensorFlow {tf.version.VERSION}, load {os.getloadavg()[0]:.1f}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(record, file, indent=2)


if __name__ == "__main__":
    main()
