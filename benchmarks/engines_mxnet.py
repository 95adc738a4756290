"""How fast mox.run is on MXNet, beside a loop written by hand with gluon.

    python benchmarks/engines_mxnet.py
    python benchmarks/engines_mxnet.py --models softmax --rounds 9 --json results.json

All contenders train the same model on the same batches, in one process and on one thread, in turns.
A figure is the median over the rounds of the CPU time per step, with all that MXNet computes in its
own threads; a ratio is that of the hand-written loop over it (1: as fast; more is better).
`mox neutral` is the same network over `mox.nn`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before MXNet reads it

import numpy as np  # noqa: E402
from neutral_networks import lenet_over_nn, resnet18_over_nn, softmax_over_nn  # noqa: E402

import mox_core  # noqa: E402
import mox_mxnet as mox  # noqa: E402
from mox_core import nn as neutral  # noqa: E402
from mox_mxnet.importing import load  # noqa: E402

mx = load()
gluon = mx.gluon
LOG_EVERY = 100


class Timed:
    """Batches that take the time: from the first after the warm-up until the last is used."""

    def __init__(self, batches: list[Any], warm_up: int, steps: int) -> None:
        self._batches = batches
        self._warm_up = warm_up
        self._steps = steps
        self.seconds_per_step = 0.0

    def __iter__(self) -> Iterator[Any]:
        for step in range(self._warm_up + self._steps):
            if step == self._warm_up:
                mx.nd.waitall()  # MXNet computes while Python goes on
                start = time.process_time()
            yield self._batches[step % len(self._batches)]
        mx.nd.waitall()
        self.seconds_per_step = (time.process_time() - start) / self._steps


# ---- The models ----------------------------------------------------------------------------------


def softmax():
    net = gluon.nn.HybridSequential()
    net.add(gluon.nn.Dense(10))
    return net


def lenet():
    net = gluon.nn.HybridSequential()
    net.add(
        gluon.nn.Conv2D(32, 5, padding=2, activation="relu"),
        gluon.nn.MaxPool2D(2),
        gluon.nn.Conv2D(64, 5, padding=2, activation="relu"),
        gluon.nn.MaxPool2D(2),
        gluon.nn.Dense(512, activation="relu"),
        gluon.nn.Dense(10),
    )
    return net


def resnet18():
    return gluon.model_zoo.vision.resnet18_v1(classes=10)


@dataclass(frozen=True)
class Model:
    make: Callable[[], Any]
    over_nn: Callable[[Any], Any]
    shape: tuple[int, ...]
    batch: int
    steps: int

    def batches(self, *, channels_last: bool = False) -> list[Any]:
        random = np.random.default_rng(0)
        found = []
        for _ in range(4):
            images = random.normal(size=(self.batch, *self.shape)).astype(np.float32)
            if channels_last and images.ndim == 4:
                images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
            found.append((images, random.integers(0, 10, self.batch)))
        return found


MODELS = {
    "softmax": Model(softmax, softmax_over_nn, (784,), 100, 1000),
    "lenet": Model(lenet, lenet_over_nn, (1, 28, 28), 64, 15),
    "resnet18": Model(resnet18, resnet18_over_nn, (3, 64, 64), 8, 8),
    "resnet18_224": Model(resnet18, resnet18_over_nn, (3, 224, 224), 8, 8),
}


# ---- The contenders ------------------------------------------------------------------------------


def hybridized(net):
    net.hybridize(static_alloc=True, static_shape=True)
    return net


def by_hand(model: Model, data: Timed) -> None:
    net = hybridized(model.make())
    net.initialize()
    loss_fn = hybridized(gluon.loss.SoftmaxCrossEntropyLoss())
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.01})
    for step, (images, labels) in enumerate(data):
        images, labels = mx.nd.array(images), mx.nd.array(labels)
        with mx.autograd.record():
            loss = loss_fn(net(images), labels)
        loss.backward()
        trainer.step(model.batch)
        if step % LOG_EVERY == 0:
            loss.mean().asscalar()


def with_mox(model: Model, data: Timed) -> None:
    def model_fn(inputs, mode):
        images, labels = inputs
        loss_fn = mox.block("loss", lambda: hybridized(gluon.loss.SoftmaxCrossEntropyLoss()))
        logits = mox.block("net", lambda: hybridized(model.make()))(images)
        loss = loss_fn(logits, labels).mean()
        return mox.ModelSpec(loss=loss, log_info={"loss": loss})

    mox.run(
        input_fn=lambda mode: data,
        model_fn=model_fn,
        optimizer_fn=lambda: mx.optimizer.SGD(learning_rate=0.01),
        run_mode=mox.ModeKeys.TRAIN,
        log_every_n_steps=LOG_EVERY,
    )


def with_mox_neutral(model: Model, data: Timed) -> None:
    def model_fn(inputs, mode):
        images, labels = inputs
        loss = neutral.sparse_softmax_cross_entropy(model.over_nn(images), labels)
        return mox.ModelSpec(loss=loss, log_info={"loss": loss})

    mox_core.run(
        input_fn=lambda mode: data,
        model_fn=model_fn,
        optimizer_fn=mox.get_optimizer_fn("sgd", 0.01),
        run_mode=mox.ModeKeys.TRAIN,
        log_every_n_steps=LOG_EVERY,
        engine="mxnet",
    )


CONTENDERS: dict[str, Callable[[Model, Timed], None]] = {
    "by hand": by_hand,
    "mox": with_mox,
    "mox neutral": with_mox_neutral,
}


def measure(model: Model, rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for number in range(rounds):
        turns = list(CONTENDERS) if number % 2 == 0 else list(CONTENDERS)[::-1]
        for name in turns:
            mx.random.seed(0)
            batches = model.batches(channels_last=name == "mox neutral")
            data = Timed(batches, warm_up=max(3, model.steps // 10), steps=model.steps)
            CONTENDERS[name](model, data)
            found[name].append(data.seconds_per_step)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", default="softmax,lenet,resnet18", help="by commas")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", help="file for the results")
    args = parser.parse_args()
    mox.set_flag("silent", True)
    results: dict[str, Any] = {"mxnet": mx.__version__, "machine": platform.processor()}
    for model_name in args.models.split(","):
        figures = measure(MODELS[model_name], args.rounds)
        print(f"\n{model_name}, batch {MODELS[model_name].batch}")
        for name, values in figures.items():
            # Ratios within a round, so that a busy minute slows both sides of each.
            turns = zip(figures["by hand"], values, strict=True)
            ratio = statistics.median(hand / own for hand, own in turns)
            print(f"  {name:12} {statistics.median(values) * 1e3:9.3f} ms   ratio {ratio:.3f}")
        results[model_name] = figures
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
