"""The MXNet engine passes EngineSuite, with single variables and with blocks."""

from __future__ import annotations

import pytest
from mxnet_problem import WITH_BLOCKS, WITH_VARIABLES

from mox_core.testing import EngineSuite
from mox_mxnet import MXNetEngine


class TestMXNetEngine(EngineSuite):
    @pytest.fixture
    def make_engine(self):
        return MXNetEngine

    @pytest.fixture(params=[WITH_VARIABLES, WITH_BLOCKS], ids=["variables", "blocks"])
    def problem(self, request):
        return request.param
