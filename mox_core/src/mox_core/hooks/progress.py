"""A progress bar on a terminal."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from mox_core.engine import Fetch
from mox_core.hooks.base import RunHook
from mox_core.hooks.log_line import format_metrics
from mox_core.plugins import get_manager

if TYPE_CHECKING:
    from mox_core.engine import StepResults
    from mox_core.running.state import RunState

__all__ = ["ProgressHook", "wants_progress"]


def wants_progress(setting: str) -> bool:
    """Whether to show a bar: `"on"`, or `"auto"` when standard error is a terminal."""
    return setting == "on" or (setting == "auto" and sys.stderr.isatty())


class ProgressHook(RunHook):
    """Shows steps done, rate, time left and the newest values, while log lines scroll above.

    A plugin may give another bar (hook `mox_make_progress`); it needs `update(n)`, `close()`
    and may have `set_postfix_str(text)`.
    """

    fetch = Fetch()

    def __init__(self, every_n_steps: int) -> None:
        self.every_n_steps = every_n_steps
        self._bar: Any = None
        self._shown = 0
        self._stack = ExitStack()

    def on_start(self, run: RunState) -> None:
        total = None if run.end_step is None else run.end_step - run.step
        self._shown = run.step
        self._bar = get_manager().decide(
            "mox_make_progress", total=total, description=str(run.mode)
        )
        if self._bar is None:
            from tqdm import tqdm
            from tqdm.contrib.logging import logging_redirect_tqdm

            self._bar = tqdm(total=total, desc=str(run.mode), unit="step", dynamic_ncols=True)
            self._stack.enter_context(logging_redirect_tqdm([run.logger]))

    def on_step_end(self, run: RunState, results: StepResults) -> None:
        self._advance(run)

    def on_error(self, run: RunState, error: BaseException) -> None:
        self._close()

    def on_end(self, run: RunState) -> None:
        self._advance(run)
        self._close()

    def _advance(self, run: RunState) -> None:
        if run.metrics and hasattr(self._bar, "set_postfix_str"):
            self._bar.set_postfix_str(format_metrics(run.metrics, "  "), refresh=False)
        self._bar.update(run.step - self._shown)
        self._shown = run.step

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._stack.close()
