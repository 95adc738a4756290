"""The loop: runs steps, and shows each hook the steps that it wants to see."""

from __future__ import annotations

import time
from collections.abc import Sequence

from mox_core.engine import Fetch
from mox_core.errors import NanLossError
from mox_core.hooks.base import RunHook
from mox_core.running.state import RunState

__all__ = ["run_loop"]

# An engine that runs several steps on its own is back at least this often, so that hooks that
# go by the clock, and the progress bar, are never much late.
_MAX_SECONDS_ALONE = 0.2


def run_loop(run: RunState, hooks: Sequence[RunHook]) -> None:
    """Runs until a hook stops the run, its last step is done, the data end, or a signal comes.

    Hooks that want to see step s are called after it, in order. Between the steps that any hook
    wants to see, the engine runs on its own.

    Raises:
        NanLossError: a loss is not finite and the plan says to stop then.
    """
    pace = _Pace()
    while not run.should_stop():
        if run.end_step is not None and run.step >= run.end_step:
            run.stop(f"max_number_of_steps={run.end_step} reached")
            run.ended_by_itself = True
            break
        target, looking = _next_look(run, hooks, pace.steps_alone())
        fetch = Fetch()
        for hook in looking:
            fetch |= hook.fetch
        results = run.program.run_steps(target - run.step + 1, fetch, run.should_stop)
        pace.measure(results.steps)
        run.step += results.steps
        run.global_step = results.global_step
        if results.ended == "nan":
            raise _nan_error(run, results.nonfinite)
        if results.values:
            run.metrics = _shown(results.values, run.plan.log_first_clone)
        if run.step > target:
            for hook in looking:
                hook.on_step_end(run, results)
        elif results.outputs:
            raise AssertionError("outputs are fetched in single steps only")
        if results.ended == "data":
            run.ended_by_itself = run.stop_reason is None
            run.stop("the data ended")
        elif results.ended == "others":
            run.stop("another process ended the run")
        elif results.ended == "hook":
            run.stop("a hook of the engine's own kind asked to stop")
    if run.stop_reason is None:
        run.stop("interrupted")
    if run.plan.training:
        _wait_for_others(run, hooks)


def _wait_for_others(run: RunState, hooks: Sequence[RunHook]) -> None:
    """Stays while other processes still change the variables that this one saves."""
    run.program.leave(stop_others=not run.ended_by_itself)
    while run.program.others_train():
        if run.interrupted() and run.ended_by_itself:
            run.ended_by_itself = False
            run.program.leave(stop_others=True)
        run.global_step = run.program.global_step
        for hook in hooks:
            hook.on_wait(run)
    if run.cluster.world_size > 1:
        run.global_step = run.program.global_step


def _next_look(
    run: RunState, hooks: Sequence[RunHook], steps_alone: int
) -> tuple[int, list[RunHook]]:
    """The next step to stop after, and the hooks that want to see it."""
    target = run.step + steps_alone - 1
    if run.end_step is not None:
        target = min(target, run.end_step - 1)
    wanted = [(hook, hook.next_step(run.step)) for hook in hooks]
    for _, step in wanted:
        if step is not None:
            target = min(target, step)
    return target, [hook for hook, step in wanted if step == target]


def _shown(values: list[dict[str, float]], first_tower: bool) -> dict[str, float]:
    if first_tower or len(values) == 1:
        return values[0]
    return {name: sum(tower[name] for tower in values) / len(values) for name in values[0]}


def _nan_error(run: RunState, names: Sequence[str]) -> NanLossError:
    good = run.url_of(run.checkpoint) if run.checkpoint else None
    kept = f" The last good checkpoint is {good}." if good else ""
    return NanLossError(
        f"loss is not finite at step {run.last_step}: {', '.join(names)}.{kept}\n"
        "  Lower the learning rate or clip gradients; `--nan ignore` goes on regardless."
    )


class _Pace:
    """How many steps fit into the time that an engine may be left alone."""

    def __init__(self) -> None:
        self._seconds_per_step: float | None = None
        self._last = time.perf_counter()

    def steps_alone(self) -> int:
        self._last = time.perf_counter()
        if self._seconds_per_step is None:
            return 1
        return max(1, int(_MAX_SECONDS_ALONE / max(self._seconds_per_step, 1e-6)))

    def measure(self, steps: int) -> None:
        if steps:
            self._seconds_per_step = (time.perf_counter() - self._last) / steps
