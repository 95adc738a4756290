"""How fast mox.run is on PyTorch, beside a loop written by hand and other frameworks' loops.

    python benchmarks/engines.py                        # every contender that is installed
    python benchmarks/engines.py --models softmax --rounds 9 --json results.json

All contenders train the same model on the same batches, in one process and on one thread, in turns.
A figure is the median over the rounds of the CPU time per step; a ratio is that of the hand-written
loop over it (1: as fast; more is better). `mox neutral` is the same network over `mox.nn`. Figures
of a busy machine vary by several per cent even so.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from neutral_networks import lenet_over_nn, resnet18_over_nn, softmax_over_nn
from torch import nn

import mox_core
import mox_torch as mox
from mox_core import nn as neutral

LOG_EVERY = 100
Batch = tuple[torch.Tensor, torch.Tensor]


class Timed:
    """Batches that take the time, from when the first after the warm-up is asked for to the last.

    Not until the last is used: some loops ask for no more than they know there are.
    """

    def __init__(self, batches: list[Batch], warm_up: int, steps: int) -> None:
        self._batches = batches
        self._warm_up = warm_up
        self._steps = steps
        self.seconds_per_step = 0.0

    def __len__(self) -> int:
        return self._warm_up + self._steps

    def __iter__(self) -> Iterator[Batch]:
        for step in range(self._warm_up + self._steps):
            if step == self._warm_up:
                start = time.process_time()
            elif step == self._warm_up + self._steps - 1:
                self.seconds_per_step = (time.process_time() - start) / (self._steps - 1)
            yield self._batches[step % len(self._batches)]


# ---- The models ----------------------------------------------------------------------------------


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 5, padding=2)
        self.conv2 = nn.Conv2d(32, 64, 5, padding=2)
        self.hidden = nn.Linear(7 * 7 * 64, 512)
        self.top = nn.Linear(512, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.top(F.relu(self.hidden(x.flatten(1))))


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = None
        if stride > 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        y = F.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class ResNet18(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.norm = nn.BatchNorm2d(64)
        widths = [64, 64, 64, 128, 128, 256, 256, 512, 512]
        self.blocks = nn.Sequential(
            *(Block(a, b, 1 if a == b else 2) for a, b in zip(widths, widths[1:], strict=False))
        )
        self.top = nn.Linear(512, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm(self.conv(x))), 3, 2, 1)
        return self.top(self.blocks(x).mean((2, 3)))


@dataclass(frozen=True)
class Model:
    make: Callable[[], nn.Module]
    over_nn: Callable[[Any], Any]
    shape: tuple[int, ...]
    batch: int
    steps: int

    def batches(self, *, channels_last: bool = False) -> list[Batch]:
        random = torch.Generator().manual_seed(0)
        found = []
        for _ in range(4):
            images = torch.randn(self.batch, *self.shape, generator=random)
            if channels_last and images.dim() == 4:
                images = images.permute(0, 2, 3, 1).contiguous()
            found.append((images, torch.randint(0, 10, (self.batch,), generator=random)))
        return found


MODELS = {
    "softmax": Model(
        lambda: nn.Linear(784, 10),
        softmax_over_nn,
        (784,),
        100,
        2000,
    ),
    "lenet": Model(LeNet, lenet_over_nn, (1, 28, 28), 64, 20),
    "resnet18": Model(ResNet18, resnet18_over_nn, (3, 64, 64), 8, 15),
    "resnet18_224": Model(ResNet18, resnet18_over_nn, (3, 224, 224), 8, 3),
}


# ---- The contenders ------------------------------------------------------------------------------


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.01)


def by_hand(model: Model, data: Timed) -> None:
    net = model.make()
    optimizer = sgd(net.parameters())
    for step, (images, labels) in enumerate(data):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        if step % LOG_EVERY == 0:
            logging.getLogger("by_hand").debug("step %d loss %.3f", step, loss.item())


def with_mox(model: Model, data: Timed) -> None:
    def model_fn(inputs, mode):
        images, labels = inputs
        loss = F.cross_entropy(mox.module("net", model.make)(images), labels)
        return mox.ModelSpec(loss=loss, log_info={"loss": loss})

    mox.run(
        input_fn=lambda mode: data,
        model_fn=model_fn,
        optimizer_fn=sgd,
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
        engine="torch",
    )


def with_accelerate(model: Model, data: Timed) -> None:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    net = model.make()
    net, optimizer = accelerator.prepare(net, sgd(net.parameters()))
    for images, labels in data:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(images), labels)
        accelerator.backward(loss)
        optimizer.step()


def with_lightning(model: Model, data: Timed) -> None:
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = model.make()

        def training_step(self, batch, index):
            images, labels = batch
            return F.cross_entropy(self.net(images), labels)

        def configure_optimizers(self):
            return sgd(self.parameters())

    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Module(), data)


def with_keras(model: Model, data: Timed) -> None:
    import keras  # on PyTorch, see main

    net = keras.Sequential([keras.layers.TorchModuleWrapper(model.make())])
    net.compile(
        optimizer=keras.optimizers.SGD(0.01),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    net.fit(iter(data), steps_per_epoch=len(data), verbose=0)


def with_skorch(model: Model, data: Timed) -> None:
    import skorch

    net = skorch.NeuralNet(
        model.make(),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        lr=0.01,
        max_epochs=1,
        train_split=None,
        verbose=0,
        iterator_train=lambda dataset, **options: data,
    )
    net.fit(torch.zeros(1), torch.zeros(1))


CONTENDERS: dict[str, tuple[str, Callable[[Model, Timed], None]]] = {
    "by hand": ("torch", by_hand),
    "mox": ("mox_torch", with_mox),
    "mox neutral": ("mox_torch", with_mox_neutral),
    "skorch": ("skorch", with_skorch),
    "accelerate": ("accelerate", with_accelerate),
    "lightning": ("lightning", with_lightning),
    "keras": ("keras", with_keras),
}


def measure(names: list[str], model: Model, rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        turns = names if number % 2 == 0 else names[::-1]
        for name in turns:
            torch.manual_seed(0)
            batches = model.batches(channels_last=name == "mox neutral")
            data = Timed(batches, warm_up=max(2, model.steps // 10), steps=model.steps)
            CONTENDERS[name][1](model, data)
            found[name].append(data.seconds_per_step)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", default="softmax,lenet,resnet18", help="by commas")
    parser.add_argument("--contenders", default="", help="by commas; default: all installed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="file for the results")
    args = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["KERAS_BACKEND"] = "torch"
    warnings.simplefilter("ignore")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    mox.set_flag("silent", True)
    wanted = args.contenders.split(",") if args.contenders else list(CONTENDERS)
    names = [name for name in wanted if importlib.util.find_spec(CONTENDERS[name][0])]
    results: dict[str, Any] = {"torch": torch.__version__, "machine": platform.processor()}
    for model_name in args.models.split(","):
        figures = measure(names, MODELS[model_name], args.rounds)
        medians = {name: statistics.median(values) for name, values in figures.items()}
        base = medians[names[0]]
        print(f"\n{model_name}, batch {MODELS[model_name].batch}")
        for name, seconds in medians.items():
            # Ratios within a round, so that a busy minute slows both sides of each.
            turns = zip(figures[names[0]], figures[name], strict=True)
            ratio = statistics.median(hand / own for hand, own in turns)
            extra = (seconds - base) * 1e6
            print(f"  {name:12} {seconds * 1e3:9.3f} ms {extra:+9.1f} us   ratio {ratio:.3f}")
        results[model_name] = figures
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
