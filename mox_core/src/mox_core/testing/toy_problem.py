"""How the toy engine spells the problem of EngineSuite: an example of an EngineProblem."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mox_core.testing import toy_nn as toy
from mox_core.testing.engine_problem import (
    FEATURES,
    MOMENTUM,
    Array,
    EngineProblem,
    SoftmaxModel,
    Source,
)
from mox_core.testing.toy_export import load_exported

__all__ = ["TOY_PROBLEM"]


def inputs(source: Source) -> Any:
    """The toy engine reads any iterable."""
    return source


def model(inputs: Any, scope: str, classes: int) -> SoftmaxModel:
    """Softmax regression."""
    features, labels = inputs
    with toy.scope(scope):
        weights = toy.variable("weights", (FEATURES, classes))
        bias = toy.variable("bias", (classes,))
    logits = features @ weights + bias
    return SoftmaxModel(
        features=features,
        logits=logits,
        loss=toy.softmax_cross_entropy(logits, labels),
        accuracy=toy.accuracy(logits, labels),
    )


def optimizer(learning_rate: float) -> toy.Optimizer:
    """Gradient descent with momentum."""
    return toy.Momentum(learning_rate, momentum=MOMENTUM)


def load(export_format: str, directory: str) -> Callable[[Array], Array]:
    """Loads what `ToyProgram.export` wrote."""
    run = load_exported(directory)
    return lambda features: run(features=features)["logits"]


TOY_PROBLEM = EngineProblem(inputs=inputs, model=model, optimizer=optimizer, load_exported=load)
