"""The TensorFlow engine passes NNSuite."""

from __future__ import annotations

import pytest

pytest.importorskip("tensorflow")

from mox_core.nn.lowering import table_problems
from mox_core.testing import NNSuite
from mox_tf.engine import TensorFlowEngine
from mox_tf.nn_functions import TABLE


class TestTensorFlowEngineNN(NNSuite):
    @pytest.fixture
    def make_engine(self):
        return TensorFlowEngine


def test_the_table_has_all_operations_with_their_signatures():
    assert table_problems(TABLE) == []
