"""RunState: what hooks and plugins see of a run, and RunResult: what `mox.run` returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import logging

    from mox_core.engine import Cluster, Engine, Program
    from mox_core.running.plan import RunPlan
    from mox_core.running.staging import Staging

__all__ = ["RunResult", "RunState"]


@dataclass
class RunState:
    """A run in progress.

    Attributes:
        plan: the arguments of `mox.run`, checked.
        engine: what runs it.
        program: the engine's program.
        cluster: this process's place among those that train together.
        logger: where the run's lines go.
        step: number of the next step, as printed on the log line. In TRAIN it goes on from the
            checkpoint; in EVAL and PREDICT it counts from 0.
        global_step: how many updates the variables have seen.
        start_step: the value of `step` when the run began.
        end_step: the run ends before this step; None: when the data end.
        metrics: the newest `log_info` values, name -> float; in EVAL at the end their means.
        eval_metrics: the newest means of the inter mode.
        stop_reason: why the run ends; None while it goes on.
        gone_back_to: the global step to which the loss of a process put the run back last.
        losses_in_a_row: how many such losses came without a step between them.
        ended_by_itself: it ends because its steps are done or its data ended.
        checkpoint: the newest checkpoint that was loaded or saved; a local prefix.
        staging: what stands here for a log_dir or a checkpoint_path in a store.
    """

    plan: RunPlan
    engine: Engine
    program: Program
    cluster: Cluster
    logger: logging.Logger
    interrupted: Callable[[], bool]
    staging: Staging
    step: int = 0
    global_step: int = 0
    start_step: int = 0
    end_step: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    eval_metrics: dict[str, float] = field(default_factory=dict)
    stop_reason: str | None = None
    ended_by_itself: bool = False
    checkpoint: str | None = None
    gone_back_to: int | None = None
    losses_in_a_row: int = 0
    on_eval: Callable[[Mapping[str, float]], None] = lambda metrics: None
    on_saved: Callable[[str], None] = lambda path: None

    @property
    def mode(self) -> str:
        """The run mode."""
        return self.plan.mode

    @property
    def log_dir(self) -> str | None:
        """The local folder of checkpoints, summaries and metrics.

        For a log_dir in a store this is the folder where it is staged; what is written there is
        uploaded with the next checkpoint.
        """
        return self.plan.log_dir

    def url_of(self, path: str) -> str:
        """What the user calls a local path: the URL, when it stands for something in a store."""
        return self.staging.url_of(path)

    @property
    def last_step(self) -> int:
        """Number of the step that was done last."""
        return self.step - 1

    @property
    def last_global_step(self) -> int:
        """The global step at which that step began, as the log line shows it."""
        return self.global_step - 1 if self.plan.training else self.global_step

    def stop(self, reason: str) -> None:
        """Ends the run after this step. The first reason counts."""
        if self.stop_reason is None:
            self.stop_reason = reason

    def should_stop(self) -> bool:
        """True once the run is to end; engines ask this between steps."""
        return self.stop_reason is not None or self.interrupted()

    def evaluate(self, values: Mapping[str, Any], steps: int) -> dict[str, float]:
        """Runs the inter mode for `steps` batches; returns the means over the samples.

        Returns:
            The means, or an empty dict when an interrupt came before the first batch was done.

        Raises:
            SpecError: the evaluation input has no batch left.
        """
        from mox_core.running.means import Means

        means = Means()
        for batch, samples in self.program.evaluate(values, steps, self.interrupted):
            means.add(batch, samples)
        if not means.batches and not self.interrupted():
            from mox_core.errors import SpecError

            raise SpecError(
                f"evaluation at step {self.last_step}: input_fn({self.plan.inter_mode!s}) has no "
                "data left.\n  Let it repeat its data, or return a data set that can be read again."
            )
        self.eval_metrics = means.result()
        if self.eval_metrics:
            self.on_eval(self.eval_metrics)
        return self.eval_metrics


@dataclass(frozen=True)
class RunResult:
    """What `mox.run` returns.

    Args:
        mode: the run mode.
        global_step: the global step at the end.
        steps: how many steps this call ran.
        metrics: TRAIN and PREDICT: the last `log_info` that was logged; EVAL: the means over all
            samples.
        eval_metrics: the last means of the inter mode.
        stop_reason: why the run ended.
        checkpoint: the newest checkpoint, a prefix without suffixes; None without one.
        export_dir: where the model was exported; None when it was not.
    """

    mode: str
    global_step: int
    steps: int
    metrics: Mapping[str, float]
    eval_metrics: Mapping[str, float]
    stop_reason: str
    checkpoint: str | None = None
    export_dir: str | None = None
