"""The PyTorch engine passes NNSuite."""

from __future__ import annotations

import pytest

from mox_core.testing import NNSuite
from mox_torch import TorchEngine


class TestTorchNN(NNSuite):
    @pytest.fixture
    def make_engine(self):
        return TorchEngine
