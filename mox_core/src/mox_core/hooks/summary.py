"""Summaries: TensorBoard event files, for every engine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mox_core.engine import Fetch
from mox_core.hooks.base import RunHook
from mox_core.hooks.events import EventFileWriter

if TYPE_CHECKING:
    from mox_core.engine import StepResults
    from mox_core.running.state import RunState

__all__ = ["SummaryHook"]


class SummaryHook(RunHook):
    """Writes log_info, global_step/sec and the model's own summaries every n steps.

    Evaluations of the inter mode go to the sub-folder `eval`, so that TensorBoard draws them into
    the chart of the training values.
    """

    fetch = Fetch(values=True, summary=True)

    def __init__(self, every_n_steps: int) -> None:
        self.every_n_steps = every_n_steps
        self._writer: EventFileWriter | None = None
        self._eval_writer: EventFileWriter | None = None
        self._last_time = 0.0
        self._last_step = 0

    def on_start(self, run: RunState) -> None:
        assert run.log_dir is not None
        self._writer = EventFileWriter(run.log_dir)
        if run.step:
            self._writer.add_session_start(run.step)
        graph = run.program.graph_def()
        if graph:
            self._writer.add_graph(graph)
        self._last_time, self._last_step = time.perf_counter(), run.step

    def on_step_end(self, run: RunState, results: StepResults) -> None:
        assert self._writer is not None
        now = time.perf_counter()
        step = run.last_step
        own = run.program.summary_tags
        scalars = {name: value for name, value in run.metrics.items() if name not in own}
        if step > self._last_step:
            scalars["global_step/sec"] = (run.step - self._last_step) / (now - self._last_time)
        self._last_time, self._last_step = now, run.step
        if results.summary:
            self._writer.add_summary(step, results.summary)
        self._writer.add_scalars(step, scalars)
        self._writer.flush()

    def on_eval_end(self, run: RunState, metrics: Mapping[str, float]) -> None:
        if self._eval_writer is None:
            self._eval_writer = EventFileWriter(f"{run.log_dir}/eval")
        self._eval_writer.add_scalars(run.last_step, dict(metrics))
        self._eval_writer.flush()

    def on_error(self, run: RunState, error: BaseException) -> None:
        self.on_end(run)

    def on_end(self, run: RunState) -> None:
        for writer in (self._writer, self._eval_writer):
            if writer is not None:
                writer.close()
