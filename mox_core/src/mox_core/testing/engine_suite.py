"""EngineSuite: the tests that every engine has to pass.

An author's whole test file:

    import pytest
    from mox_core.testing import EngineProblem, EngineSuite, SoftmaxModel

    class TestMyEngine(EngineSuite):
        @pytest.fixture
        def make_engine(self):
            return MyEngine

        @pytest.fixture
        def problem(self):
            return EngineProblem(inputs=..., model=..., optimizer=..., load_exported=...)

Tests of what the engine does not declare in its `Capabilities` are skipped, and say so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

_TIERS = (
    "steps",
    "checkpoints",
    "specs",
    "towers",
    "inter_mode",
    "multi_loss",
    "auto_batch",
    "export",
    "flags",
    "runs",
)
# Before they are imported: a failing assert then shows its values in an author's test run, too.
pytest.register_assert_rewrite(
    "mox_core.testing.engine_bench",
    *(f"mox_core.testing.engine_tiers.{tier}" for tier in _TIERS),
)

from mox_core.engine import Engine  # noqa: E402
from mox_core.testing.engine_bench import EngineBench  # noqa: E402
from mox_core.testing.engine_problem import EngineProblem  # noqa: E402
from mox_core.testing.engine_tiers.auto_batch import AutoBatchTier  # noqa: E402
from mox_core.testing.engine_tiers.checkpoints import CheckpointsTier  # noqa: E402
from mox_core.testing.engine_tiers.export import ExportTier  # noqa: E402
from mox_core.testing.engine_tiers.flags import FlagsTier  # noqa: E402
from mox_core.testing.engine_tiers.inter_mode import InterModeTier  # noqa: E402
from mox_core.testing.engine_tiers.multi_loss import MultiLossTier  # noqa: E402
from mox_core.testing.engine_tiers.runs import RunsTier  # noqa: E402
from mox_core.testing.engine_tiers.specs import SpecsTier  # noqa: E402
from mox_core.testing.engine_tiers.steps import StepsTier  # noqa: E402
from mox_core.testing.engine_tiers.towers import TowersTier  # noqa: E402

__all__ = ["EngineSuite"]


class EngineSuite(
    StepsTier,
    SpecsTier,
    CheckpointsTier,
    TowersTier,
    InterModeTier,
    MultiLossTier,
    AutoBatchTier,
    ExportTier,
    FlagsTier,
    RunsTier,
):
    """Subclass it as `Test...` and give it the fixtures `make_engine` and `problem`."""

    @pytest.fixture
    def make_engine(self) -> Callable[[], Engine]:
        """Returns a function that returns a new engine. To be overridden."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture make_engine")

    @pytest.fixture
    def problem(self) -> EngineProblem:
        """Returns how the engine spells the problem. To be overridden."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture problem")

    @pytest.fixture
    def bench(
        self, make_engine: Callable[[], Engine], problem: EngineProblem
    ) -> Iterator[EngineBench]:
        """Builds programs of the engine, and closes them after the test."""
        bench = EngineBench(make_engine, problem)
        yield bench
        bench.close()
