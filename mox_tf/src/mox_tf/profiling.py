"""Traces of single steps: which operation ran when, on which device."""

from __future__ import annotations

import os
import re
from typing import Any

from mox_core.engine import Fetch, StepResults
from mox_core.errors import EngineError
from mox_core.hooks.base import RunHook
from mox_core.running.state import RunState
from mox_tf.tf1 import chrome_trace, tf

__all__ = ["FOLDER", "ProfileHook", "StepTracer", "profile_range"]

FOLDER = "profile"
"""Where the traces go, below log_dir."""


class StepTracer(tf.train.SessionRunHook):  # type: ignore[misc]
    """Has steps traced while it is on.

    Attributes:
        on: whether the next step is traced.
    """

    def __init__(self) -> None:
        self.on = False
        self._step_stats: Any = None

    def before_run(self, run_context: Any) -> Any:
        """Asks for a full trace."""
        if not self.on:
            return None
        options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
        return tf.train.SessionRunArgs(None, options=options)

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """Keeps the trace."""
        self._step_stats = run_values.run_metadata.step_stats

    def chrome_trace(self) -> str:
        """The last step, as JSON for chrome://tracing or Perfetto."""
        return chrome_trace(self._step_stats)


class ProfileHook(RunHook):
    """Has some steps traced and writes the traces.

    Args:
        tracer: the program's.
        first: the first step, as the log line counts.
        last: the last one.
    """

    fetch = Fetch()

    def __init__(self, tracer: StepTracer, first: int, last: int) -> None:
        self._tracer = tracer
        self._first = first
        self._last = last

    def next_step(self, step: int) -> int | None:
        if step > self._last:
            return None
        return max(step, self._first - 1)

    def on_start(self, run: RunState) -> None:
        if not run.log_dir:
            raise EngineError("--profile_steps needs log_dir, since the traces go there.")
        self._tracer.on = self._traces(run)

    def on_step_end(self, run: RunState, results: StepResults) -> None:
        assert run.log_dir is not None, "on_start has checked it"
        if self._tracer.on:
            folder = os.path.join(run.log_dir, FOLDER)
            os.makedirs(folder, exist_ok=True)
            path = os.path.join(folder, f"step-{run.last_step}.json")
            with open(path, "w", encoding="utf-8") as file:
                file.write(self._tracer.chrome_trace())
            run.logger.info("Wrote the trace of step %d to %s.", run.last_step, path)
        self._tracer.on = self._traces(run)

    def on_end(self, run: RunState) -> None:
        if run.cluster.is_chief and run.step <= self._first:
            run.logger.warning(
                "--profile_steps: the run ended before step %d, so nothing was traced.", self._first
            )

    def _traces(self, run: RunState) -> bool:
        return run.cluster.is_chief and self._first <= run.step <= self._last


def profile_range(text: str) -> tuple[int, int] | None:
    """Reads `--profile_steps`; None when it is empty.

    Raises:
        EngineError: it is no range.
    """
    if not text:
        return None
    found = re.fullmatch(r"\s*(\d+)\s*(?:,\s*(\d+)\s*)?", text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if first > last:
        raise EngineError(
            f"--profile_steps is {text!r}; give the first and the last step, such as 100,102."
        )
    return first, last
