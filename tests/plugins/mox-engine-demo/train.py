"""Trains a linear classifier on three clusters of points, then evaluates it.

python train.py --engine demo --log_dir /tmp/clusters
"""

from __future__ import annotations

import argparse
import random

import mox_engine_demo as demo

import mox_core as mox

CENTERS = [(3.0, 0.0), (-3.0, 0.0), (0.0, 3.0)]


def input_fn(mode):
    """60 batches to train on, 10 others to evaluate."""
    points = random.Random(0 if mode == mox.ModeKeys.TRAIN else 1)
    for _ in range(60 if mode == mox.ModeKeys.TRAIN else 10):
        labels = [points.randrange(3) for _ in range(20)]
        yield [[points.gauss(x, 1.0) for x in CENTERS[label]] for label in labels], labels


def model_fn(inputs, mode):
    """A linear classifier."""
    points, labels = inputs
    logits = demo.linear(points, "classifier", inputs=2, outputs=3)
    loss = demo.cross_entropy(logits, labels)
    return mox.ModelSpec(
        loss=loss, log_info={"loss": loss, "accuracy": demo.accuracy(logits, labels)}
    )


def main():
    """Trains, then evaluates."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--log_dir", required=True)
    arguments = parser.parse_args()
    mox.run(
        input_fn=input_fn,
        model_fn={"demo": model_fn},
        optimizer_fn=lambda: demo.Momentum(0.1),
        run_mode=mox.ModeKeys.TRAIN,
        log_dir=arguments.log_dir,
    )
    result = mox.run(
        input_fn=input_fn,
        model_fn={"demo": model_fn},
        run_mode=mox.ModeKeys.EVAL,
        log_dir=arguments.log_dir,
    )
    print(f"accuracy: {result.metrics['accuracy']:.3f}")


if __name__ == "__main__":
    main()
