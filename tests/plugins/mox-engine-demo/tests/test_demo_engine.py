"""The engine passes the suite of mox_core.testing."""

from __future__ import annotations

import mox_engine_demo as demo
import pytest
from mox_engine_demo.engine import DemoEngine

from mox_core.testing import EngineProblem, EngineSuite, SoftmaxModel


def inputs(source):
    return ((features.tolist(), labels.tolist()) for features, labels in source)


def model(inputs, scope, classes):
    features, labels = inputs
    logits = demo.linear(features, scope, inputs=4, outputs=classes)
    return SoftmaxModel(
        features=features,
        logits=logits,
        loss=demo.cross_entropy(logits, labels),
        accuracy=demo.accuracy(logits, labels),
    )


class TestDemoEngine(EngineSuite):
    @pytest.fixture
    def make_engine(self):
        return DemoEngine

    @pytest.fixture
    def problem(self):
        return EngineProblem(inputs=inputs, model=model, optimizer=demo.Momentum)
