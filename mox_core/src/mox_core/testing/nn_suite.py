"""NNSuite: the tests of an engine's lowering of neutral graphs, in float64, against NumPy.

An author's whole test file:

    class TestMyEngineNN(NNSuite):
        @pytest.fixture
        def make_engine(self):
            return MyEngine
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

pytest.register_assert_rewrite(
    "mox_core.testing.engine_bench",
    "mox_core.testing.nn_bench",
    "mox_core.testing.nn_tiers.operations",
    "mox_core.testing.nn_tiers.training",
    "mox_core.testing.nn_tiers.runs",
)

from mox_core.engine import Engine  # noqa: E402
from mox_core.testing.nn_bench import NNBench  # noqa: E402
from mox_core.testing.nn_tiers.operations import OperationsTier  # noqa: E402
from mox_core.testing.nn_tiers.runs import NeutralRunsTier  # noqa: E402
from mox_core.testing.nn_tiers.training import TrainingTier  # noqa: E402

__all__ = ["NNSuite"]


class NNSuite(OperationsTier, TrainingTier, NeutralRunsTier):
    """Subclass it as `Test...` and give it the fixture `make_engine`."""

    @pytest.fixture
    def make_engine(self) -> Callable[[], Engine]:
        """Returns a function that returns a new engine. To be overridden."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture make_engine")

    @pytest.fixture
    def nn_bench(self, make_engine: Callable[[], Engine]) -> Iterator[NNBench]:
        """Builds neutral programs of the engine, and closes them after the test."""
        bench = NNBench(make_engine)
        yield bench
        bench.close()
