"""The PyTorch engine passes EngineSuite, with single variables and with modules."""

from __future__ import annotations

import pytest
from torch_problem import WITH_MODULES, WITH_VARIABLES

from mox_core.testing import EngineSuite
from mox_torch import TorchEngine


class TestTorchEngine(EngineSuite):
    @pytest.fixture
    def make_engine(self):
        return TorchEngine

    @pytest.fixture(params=[WITH_VARIABLES, WITH_MODULES], ids=["variables", "modules"])
    def problem(self, request):
        return request.param
