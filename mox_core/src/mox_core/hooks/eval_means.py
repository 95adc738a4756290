"""The result of a run in mode EVAL: means over all samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mox_core.engine import Fetch
from mox_core.hooks.base import RunHook
from mox_core.hooks.log_line import format_metrics
from mox_core.running.means import Means

if TYPE_CHECKING:
    from mox_core.engine import StepResults
    from mox_core.running.state import RunState

__all__ = ["EvalMeansHook"]


class EvalMeansHook(RunHook):
    """Averages log_info over every batch of every tower, and reports it at the end."""

    fetch = Fetch(values=True)

    def __init__(self) -> None:
        self._means = Means()

    def on_step_end(self, run: RunState, results: StepResults) -> None:
        for values, samples in zip(results.values, results.samples, strict=True):
            self._means.add(values, samples)

    def on_end(self, run: RunState) -> None:
        metrics = self._means.result()
        if not metrics:
            return
        run.metrics = metrics
        samples = f", {self._means.samples} samples" if self._means.samples else ""
        run.logger.info(
            "[EVAL] global step: %d, %d batches%s\t%s",
            run.global_step,
            self._means.batches,
            samples,
            format_metrics(metrics, "\t"),
        )
        run.on_eval(metrics)
