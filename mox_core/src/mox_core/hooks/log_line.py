"""The log line of a run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mox_core.engine import Fetch
from mox_core.hooks.base import RunHook
from mox_core.spec import ModeKeys

if TYPE_CHECKING:
    from mox_core.engine import StepResults
    from mox_core.running.state import RunState

__all__ = ["LogHook", "format_metrics"]


def format_metrics(values: dict[str, float], separator: str) -> str:
    """`name: 1.234` for each value, in order."""
    return separator.join(f"{name}: {value:.3f}" for name, value in values.items())


class LogHook(RunHook):
    """Prints `step: S(global step: G)<TAB>sample/sec: R<TAB>name: value...`.

    sample/sec counts batch size x towers x steps since the last line, over the time since.
    A prediction without `log_info` prints `<TAB>[N examples]` with the number so far.
    """

    fetch = Fetch(values=True)

    def __init__(self, every_n_steps: int) -> None:
        self.every_n_steps = every_n_steps
        self.sample_per_sec: float | None = None
        self._last_time = 0.0
        self._last_step = 0

    def on_start(self, run: RunState) -> None:
        self._last_time = time.perf_counter()
        self._last_step = run.step

    def on_restored(self, run: RunState) -> None:
        self.on_start(run)

    def on_step_end(self, run: RunState, results: StepResults) -> None:
        now = time.perf_counter()
        samples = self._samples_per_step(run, results) * (run.step - self._last_step)
        self.sample_per_sec = samples / max(now - self._last_time, 1e-9)
        self._last_time, self._last_step = now, run.step
        if run.mode == ModeKeys.PREDICT and not run.metrics:
            done = (run.step - run.start_step) * self._samples_per_step(run, results)
            run.logger.info("\t[%d examples]", done)
            return
        steps = f"step: {run.last_step}(global step: {run.last_global_step})"
        line = f"{steps}\tsample/sec: {self.sample_per_sec:.3f}"
        if run.metrics:
            line += "\t" + format_metrics(run.metrics, "\t")
        run.logger.info("%s", line)

    @staticmethod
    def _samples_per_step(run: RunState, results: StepResults) -> int:
        if run.plan.batch_size is not None:
            return run.plan.batch_size * run.program.towers
        return sum(number or 0 for number in results.samples)
