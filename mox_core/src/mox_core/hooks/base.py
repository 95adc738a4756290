"""RunHook: the base of all that watches a run, mox's own hooks and the user's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mox_core.engine import Fetch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mox_core.engine import StepResults
    from mox_core.running.state import RunState

__all__ = ["RunHook"]


class RunHook:
    """Something that is told what happens in a run, and may stop it.

    Hand instances to `mox.run(hooks=[...])` or return them in `ModelSpec.hooks`; override
    what you need:

        class StopWhenGood(mox.RunHook):
            every_n_steps = 100

            def on_step_end(self, run, results):
                if run.metrics["accuracy"] > 0.99:
                    run.stop("accuracy is above 0.99")

    An exception that a method raises ends the run, as one in the script would.

    Attributes:
        every_n_steps: `on_step_end` is called for the steps 0, n, 2n, ... (as printed on the log
            line). A larger number lets the engine run more steps without coming back.
        fetch: what `on_step_end` finds in its results.
        inter_mode: runs only where `mox.run(inter_mode=...)` is given, with the tensors of
            the inter-mode call of model_fn.
    """

    every_n_steps: int = 1
    fetch: Fetch = Fetch(values=True)
    inter_mode: bool = False

    def next_step(self, step: int) -> int | None:
        """Returns the first step >= `step` whose end this hook wants to see; None for no more."""
        return -(-step // self.every_n_steps) * self.every_n_steps

    def on_start(self, run: RunState) -> None:
        """The variables are initialized or restored; the first step comes next."""

    def on_step_end(self, run: RunState, results: StepResults) -> None:
        """Step number `run.step - 1` is done; `results` holds what `fetch` asked for."""

    def on_restored(self, run: RunState) -> None:
        """In the middle of a run the variables went back to a checkpoint, and `run.step` with them.

        Happens when a process that held variables is lost (see docs/clusters.md).
        """

    def on_wait(self, run: RunState) -> None:
        """This process has done its steps; others still train. Called about every second."""

    def on_eval_end(self, run: RunState, metrics: Mapping[str, float]) -> None:
        """An evaluation (in training: of the inter mode) is done."""

    def on_checkpoint_saved(self, run: RunState, path: str) -> None:
        """A checkpoint is complete at `path` (a prefix, without suffixes)."""

    def on_error(self, run: RunState, error: BaseException) -> None:
        """The run ends with an error. `on_end` is not called."""

    def on_end(self, run: RunState) -> None:
        """The run ends: by its number of steps, its data, a hook or an interrupt."""

    def state(self) -> dict[str, Any]:
        """What has to survive a restart, as JSON; it is stored with every checkpoint."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Takes back what `state` gave when the run resumes from a checkpoint."""
