"""When to save a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mox_core.checkpoint import BASENAME, CheckpointStore
from mox_core.engine import Fetch
from mox_core.errors import NanLossError
from mox_core.hooks.base import RunHook

if TYPE_CHECKING:
    from mox_core.engine import StepResults
    from mox_core.running.state import RunState

__all__ = ["SaveHook", "collect_state", "restore_state"]


class SaveHook(RunHook):
    """Saves at the start, every n seconds or steps, and at the end; never twice the same step.

    Args:
        store: where to save.
        hooks: the hooks whose state goes along.
        every_secs: seconds between two checkpoints, or None.
        every_steps: steps between two checkpoints, or None.
    """

    fetch = Fetch()

    def __init__(
        self,
        store: CheckpointStore,
        hooks: Callable[[], Sequence[RunHook]],
        *,
        every_secs: float | None,
        every_steps: int | None,
    ) -> None:
        self._store = store
        self._hooks = hooks
        self._every_secs = every_secs
        self._every_steps = every_steps
        self._last_time = 0.0
        self._saved_step: int | None = None

    def next_step(self, step: int) -> int | None:
        if self._every_secs is not None:
            # The loop bounds the time that it leaves an engine alone, so any step will do.
            return step if time.monotonic() - self._last_time >= self._every_secs else None
        if self._every_steps is not None:
            return -(-(step + 1) // self._every_steps) * self._every_steps - 1
        return None

    def on_start(self, run: RunState) -> None:
        in_place = run.checkpoint is not None and run.checkpoint.startswith(
            f"{self._store.directory}/{BASENAME}-"
        )
        if in_place:
            self._saved_step = run.global_step
        self._save(run)

    def on_step_end(self, run: RunState, results: StepResults) -> None:
        self._save(run)

    def on_wait(self, run: RunState) -> None:
        due = self._every_steps is not None and (
            run.global_step - (self._saved_step or 0) >= self._every_steps
        )
        late = time.monotonic() - self._last_time
        if due or (self._every_secs is not None and late >= self._every_secs):
            self._save(run)

    def on_end(self, run: RunState) -> None:
        self._save(run)

    def _save(self, run: RunState) -> None:
        self._last_time = time.monotonic()
        if run.global_step == self._saved_step:
            return
        bad = run.program.nonfinite_variables() if run.plan.stop_on_nan else []
        if bad:
            good = run.url_of(run.checkpoint) if run.checkpoint else None
            kept = f" The last good checkpoint is {good}." if good else ""
            raise NanLossError(
                f"not finite after step {run.last_step}: variables {', '.join(bad[:10])}.{kept}\n"
                "  Lower the learning rate or clip gradients; `--nan ignore` goes on regardless."
            )
        directory = run.url_of(self._store.directory)
        run.logger.info(
            "Saving checkpoints for %d into %s/%s.", run.global_step, directory, BASENAME
        )
        run.checkpoint = self._store.save(
            run.global_step,
            run.program.save,
            variables=run.program.variable_infos(),
            hooks=collect_state(self._hooks()),
            neutral=run.program.request.neutral,
        )
        self._saved_step = run.global_step
        run.on_saved(run.checkpoint)


def collect_state(hooks: Sequence[RunHook]) -> dict[str, Any]:
    """The state of all hooks that have one, by class name and position among its like."""
    return {key: state for key, hook in _keyed(hooks) if (state := hook.state())}


def restore_state(hooks: Sequence[RunHook], states: dict[str, Any]) -> None:
    """Gives every hook the state that a checkpoint holds for it."""
    for key, hook in _keyed(hooks):
        if key in states:
            hook.load_state(states[key])


def _keyed(hooks: Sequence[RunHook]) -> list[tuple[str, RunHook]]:
    seen: dict[str, int] = {}
    keyed = []
    for hook in hooks:
        name = type(hook).__name__
        keyed.append((f"{name}/{seen.get(name, 0)}", hook))
        seen[name] = seen.get(name, 0) + 1
    return keyed
