"""The MXNet engine passes NNSuite."""

from __future__ import annotations

import pytest

from mox_core.testing import NNSuite
from mox_mxnet import MXNetEngine


class TestMXNetNN(NNSuite):
    @pytest.fixture
    def make_engine(self):
        return MXNetEngine
