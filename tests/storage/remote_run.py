"""A training script on the toy engine; its log_dir is the first argument."""

from __future__ import annotations

import sys

import numpy as np

import mox_core as mox
from mox_core.testing import ToyEngine
from mox_core.testing import toy_nn as toy


def input_fn(mode):
    rng = np.random.default_rng(0)
    while True:
        points = rng.normal(size=(10, 4))
        yield points, (points[:, 0] > 0).astype(int)


def model_fn(inputs, mode):
    points, labels = inputs
    logits = points @ toy.variable("weights", (4, 2))
    loss = toy.softmax_cross_entropy(logits, labels)
    return mox.ModelSpec(
        loss=loss,
        log_info={"loss": loss},
        output_info={"logits": logits},
        export_spec=mox.ExportSpec({"points": points}, {"logits": logits}),
    )


def run(log_dir, mode=mox.ModeKeys.TRAIN, **arguments):
    defaults = {
        "input_fn": input_fn,
        "model_fn": model_fn,
        "optimizer_fn": lambda: toy.Sgd(0.1),
        "run_mode": mode,
        "log_every_n_steps": 1,
        "save_model_steps": 2,
        "save_summary_steps": 2,
        "max_number_of_steps": 4,
        "engine": ToyEngine(),
    }
    return mox.run(log_dir=log_dir, **{**defaults, **arguments})


if __name__ == "__main__":
    run(sys.argv[1], max_number_of_steps=0)
