"""Tells plugins of group `mox.plugins` what happens in a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mox_core.engine import Fetch
from mox_core.hooks.base import RunHook
from mox_core.plugins import get_manager

if TYPE_CHECKING:
    from mox_core.engine import StepResults
    from mox_core.running.state import RunState

__all__ = ["PluginHook"]


class PluginHook(RunHook):
    """Passes the run's events on to observers, and asks deciders whether to stop.

    Steps are only looked at when a plugin implements one of the two hooks about them, since that
    keeps the engine from running several steps on its own.
    """

    fetch = Fetch(values=True)

    def __init__(self) -> None:
        self._manager = get_manager()
        self._looks = self._manager.implements("mox_step_end", "mox_should_stop")

    def next_step(self, step: int) -> int | None:
        return step if self._looks else None

    def on_start(self, run: RunState) -> None:
        self._manager.notify("mox_run_start", run=run)

    def on_step_end(self, run: RunState, results: StepResults) -> None:
        self._manager.notify("mox_step_end", run=run, result=results)
        reason = self._manager.decide("mox_should_stop", run=run)
        if reason:
            run.stop(str(reason))

    def on_eval_end(self, run: RunState, metrics: Mapping[str, float]) -> None:
        self._manager.notify("mox_eval_end", run=run, metrics=metrics)

    def on_checkpoint_saved(self, run: RunState, path: str) -> None:
        self._manager.notify("mox_checkpoint_saved", run=run, path=path)

    def on_error(self, run: RunState, error: BaseException) -> None:
        self._manager.notify("mox_run_error", run=run, error=error)
        self.on_end(run)

    def on_end(self, run: RunState) -> None:
        self._manager.notify("mox_run_end", run=run)
