"""Evaluation on other data in the middle of training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mox_core.engine import Program
from mox_core.spec import ModeKeys
from mox_core.testing.engine_bench import (
    LEARNING_RATE,
    EngineBench,
    MonitorHook,
    advance,
    losses,
    never,
)
from mox_core.testing.engine_problem import Batch, Reference, Source, make_batches

__all__ = ["InterModeTier"]

_BATCHES = make_batches(16)
_TRAIN, _EVAL = _BATCHES[:12], [*_BATCHES[12:15], *make_batches(1, size=3)]


class InterModeTier:
    """Required of engines that declare `inter_mode`."""

    @pytest.fixture
    def inter_bench(self, bench: EngineBench) -> EngineBench:
        """Skips engines without inter mode."""
        return bench.require("inter_mode")

    def test_evaluation_uses_the_newest_variables(self, inter_bench: EngineBench) -> None:
        program = _build(inter_bench)
        reference = Reference(LEARNING_RATE)
        for start in (0, 4):
            rows = program.evaluate(_monitored(program), 4, never)
            assert [list(values) for values, _ in rows] == [["loss", "accuracy"]] * 4
            assert [samples for _, samples in rows] == [8, 8, 8, 3]
            for (values, _), batch in zip(rows, _EVAL, strict=True):
                assert values["loss"] == pytest.approx(reference.loss(batch), rel=1e-3)
                assert values["accuracy"] == pytest.approx(reference.accuracy(batch))
            advance(program, 4)
            for batch in _TRAIN[start : start + 4]:
                reference.step([batch])

    def test_evaluation_changes_nothing(self, inter_bench: EngineBench) -> None:
        program, undisturbed = _build(inter_bench), inter_bench.train(_TRAIN)
        advance(program, 3)
        advance(undisturbed, 3)
        before = program.variables()
        program.evaluate(_monitored(program), 4, never)
        assert program.global_step == 3
        for name, array in program.variables().items():
            np.testing.assert_array_equal(array, before[name], err_msg=name)
        np.testing.assert_allclose(losses(program, 3), losses(undisturbed, 3), rtol=1e-5)

    def test_evaluation_goes_on_where_it_was_and_begins_again(
        self, inter_bench: EngineBench
    ) -> None:
        program = _build(inter_bench)
        samples = [
            [number for _, number in program.evaluate(_monitored(program), steps, never)]
            for steps in (3, 3, 4, 5, 4)
        ]
        assert samples == [[8, 8, 8], [3], [8, 8, 8, 3], [8, 8, 8, 3], [8, 8, 8, 3]]

    def test_evaluation_stops_when_told(self, inter_bench: EngineBench) -> None:
        program = _build(inter_bench)
        assert len(program.evaluate(_monitored(program), 4, lambda: True)) == 1

    def test_variables_are_shared(self, inter_bench: EngineBench) -> None:
        program, alone = _build(inter_bench), inter_bench.train(_TRAIN)
        assert program.variables().keys() == alone.variables().keys()

    def test_hooks_of_both_modes_are_told_apart(self, inter_bench: EngineBench) -> None:
        program = _build(inter_bench)
        assert program.hooks == ()
        assert [type(hook) for hook in program.inter_hooks] == [MonitorHook]

    def test_an_error_in_the_evaluation_data_reaches_the_user(
        self, inter_bench: EngineBench
    ) -> None:
        def broken() -> Iterator[Batch]:
            yield from _EVAL[:1]
            raise ValueError("file 17 cannot be read")

        with pytest.raises(Exception, match="file 17 cannot be read"):
            program = _build(inter_bench, Source(broken))
            program.evaluate(_monitored(program), 4, never)


def _build(bench: EngineBench, eval_source: Source | None = None) -> Program:
    sources = {
        ModeKeys.TRAIN: Source(lambda: iter(_TRAIN)),
        ModeKeys.EVAL: eval_source or Source(lambda: iter(_EVAL)),
    }
    return bench.train(
        (),
        input_fn=lambda mode, /: bench.problem.inputs(sources[mode]),
        inter_mode=ModeKeys.EVAL,
    )


def _monitored(program: Program) -> dict[str, Any]:
    (hook,) = program.inter_hooks
    assert isinstance(hook, MonitorHook)
    return hook.monitor_info
