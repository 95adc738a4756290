"""output_fn: hands the model's output_info to the user, in groups of steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mox_core.engine import Fetch
from mox_core.hooks.base import RunHook

if TYPE_CHECKING:
    from mox_core.engine import StepResults
    from mox_core.running.state import RunState

__all__ = ["OutputHook"]


class OutputHook(RunHook):
    """Calls `output_fn(outputs)` with a list of dicts, ordered by step, then by tower.

    The list has n x towers items; the last one may be shorter, so that nothing is lost.

    Args:
        output_fn: the user's function.
        every_n_steps: steps per call; 0: one call at the end, with everything.
    """

    fetch = Fetch(outputs=True)

    def __init__(self, output_fn: Callable[..., Any], every_n_steps: int) -> None:
        self._output_fn = output_fn
        self._steps_per_call = every_n_steps
        self._outputs: list[dict[str, Any]] = []
        self._steps = 0

    def on_step_end(self, run: RunState, results: StepResults) -> None:
        self._outputs += results.outputs
        self._steps += results.steps
        if self._steps == self._steps_per_call:
            self._flush()

    def on_end(self, run: RunState) -> None:
        self._flush()

    def _flush(self) -> None:
        outputs, self._outputs, self._steps = self._outputs, [], 0
        if outputs:
            self._output_fn(outputs)
