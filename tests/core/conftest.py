from __future__ import annotations

import logging

import numpy as np
import pytest

import mox_core as mox
from mox_core.flags import registry
from mox_core.testing import ToyEngine
from mox_core.testing import toy_nn as toy


class Problem:
    """Three well separated clusters of points, and softmax regression on them."""

    def __init__(self, samples: int = 240, batch: int = 20, seed: int = 3) -> None:
        rng = np.random.default_rng(seed)
        self.labels = np.arange(samples) % 3
        centers = np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 3.0]])
        self.points = centers[self.labels] + rng.normal(size=(samples, 2))
        self.batch = batch
        self.epochs = 1
        self.calls: list[str] = []

    def input_fn(self, mode):
        self.calls.append(str(mode))
        for _ in range(self.epochs):
            for start in range(0, len(self.labels), self.batch):
                part = slice(start, start + self.batch)
                yield self.points[part], self.labels[part]

    def endless(self, mode):
        while True:
            yield from self.input_fn(mode)

    def model_fn(self, inputs, mode):
        points, labels = inputs
        logits = points @ toy.variable("weights", (2, 3)) + toy.variable("bias", (3,))
        loss = toy.softmax_cross_entropy(logits, labels)
        return mox.ModelSpec(
            loss=loss,
            log_info={"loss": loss, "accuracy": toy.accuracy(logits, labels)},
            output_info={"logits": logits},
            export_spec=mox.ExportSpec({"points": points}, {"logits": logits}),
            hooks=self.hooks(logits, labels, loss),
        )

    def hooks(self, logits, labels, loss):
        return []

    @staticmethod
    def optimizer_fn():
        return toy.Momentum(0.1)

    def run(self, mode=mox.ModeKeys.TRAIN, **arguments):
        defaults = {
            "input_fn": self.input_fn,
            "model_fn": self.model_fn,
            "optimizer_fn": self.optimizer_fn,
            "run_mode": mode,
            "engine": ToyEngine(),
        }
        return mox.run(**{**defaults, **arguments})


@pytest.fixture
def problem():
    return Problem()


@pytest.fixture(autouse=True)
def clean_flags(monkeypatch):
    """Every test begins with the flags' defaults and the log's defaults."""
    monkeypatch.setattr("sys.argv", ["test"])
    for name in ("MOX_ENGINE", "MOX_MAX_STEPS", "MOX_PLUGINS", "MOX_NO_PLUGINS"):
        monkeypatch.delenv(name, raising=False)
    registry().reset()
    yield
    registry().reset()


@pytest.fixture
def log_lines():
    """The lines of a run, as `INFO:mox:...`."""
    lines: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.levelname}:{record.name}:{record.getMessage()}")

    logger = logging.getLogger("mox")
    handler = Collect()
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(level)
