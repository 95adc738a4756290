"""NNSuite on the toy engine: the NumPy reference agrees with finite differences and formulas."""

from __future__ import annotations

import pytest

from mox_core.testing import NNSuite, ToyEngine


class TestToyEngine(NNSuite):
    @pytest.fixture
    def make_engine(self):
        return ToyEngine
