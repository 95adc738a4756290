"""Single samples that the engine makes into batches."""

from __future__ import annotations

import numpy as np
import pytest

from mox_core.engine import Fetch, Program
from mox_core.spec import Mode, ModeKeys
from mox_core.testing.engine_bench import (
    LEARNING_RATE,
    EngineBench,
    losses,
    never,
    one_by_one,
)
from mox_core.testing.engine_problem import Reference, make_batches

__all__ = ["AutoBatchTier"]

_SIZE = 8
_REST = 4
_FULL = make_batches(2, size=_SIZE)
_ALL = [*_FULL, *make_batches(1, size=_REST)]


class AutoBatchTier:
    """Required of engines that declare `auto_batch`."""

    @pytest.fixture
    def samples_bench(self, bench: EngineBench) -> EngineBench:
        """Skips engines that only take batches."""
        return bench.require("auto_batch")

    def test_training_uses_full_batches_in_order(self, samples_bench: EngineBench) -> None:
        program = _build(samples_bench, ModeKeys.TRAIN)
        reference = Reference(LEARNING_RATE)
        expected = [reference.step([batch]) for batch in _FULL]
        np.testing.assert_allclose(losses(program, 2), expected, rtol=1e-3)
        results = program.run_steps(1, Fetch(), never)
        assert (results.steps, results.ended) == (0, "data")

    def test_evaluation_and_prediction_keep_the_rest(self, samples_bench: EngineBench) -> None:
        evaluated = one_by_one(_build(samples_bench, ModeKeys.EVAL), 3)
        assert [results.samples for results in evaluated] == [[_SIZE], [_SIZE], [_REST]]
        predicted = _build(samples_bench, ModeKeys.PREDICT).run_steps(3, Fetch(outputs=True), never)
        shapes = [np.shape(outputs["logits"]) for outputs in predicted.outputs]
        assert [shape[0] for shape in shapes] == [_SIZE, _SIZE, _REST]


def _build(bench: EngineBench, mode: Mode) -> Program:
    samples = [sample for batch in _ALL for sample in zip(*batch, strict=True)]
    return bench.build(
        mode,
        input_fn=lambda mode, /: bench.inputs(samples, batched=False),
        batch_size=_SIZE,
        auto_batch=True,
    )
