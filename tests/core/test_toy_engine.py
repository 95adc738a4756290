"""The toy engine passes EngineSuite, and engines with a fault do not."""

from __future__ import annotations

from typing import Any

import pytest
from mox_core.testing import (
    EngineProblem,
    EngineSuite,
    SoftmaxModel,
    ToyEngine,
    load_exported,
)
from mox_core.testing import toy_nn as toy


def softmax_model(inputs: Any, scope: str, classes: int) -> SoftmaxModel:
    features, labels = inputs
    with toy.scope(scope):
        weights = toy.variable("weights", (4, classes))
        bias = toy.variable("bias", (classes,))
    logits = features @ weights + bias
    return SoftmaxModel(
        features=features,
        logits=logits,
        loss=toy.softmax_cross_entropy(logits, labels),
        accuracy=toy.accuracy(logits, labels),
    )


TOY_PROBLEM = EngineProblem(
    inputs=lambda source: source,
    model=softmax_model,
    optimizer=lambda learning_rate: toy.Momentum(learning_rate, momentum=0.9),
    load_exported=lambda _, directory: (
        lambda features: load_exported(directory)(features=features)["logits"]
    ),
)


class TestToyEngine(EngineSuite):
    @pytest.fixture
    def make_engine(self):
        return ToyEngine

    @pytest.fixture
    def problem(self):
        return TOY_PROBLEM
