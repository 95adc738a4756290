"""Evaluation during training: log the metrics of other data, stop when they no longer improve."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mox_core.engine import Fetch
from mox_core.errors import SpecError
from mox_core.hooks.base import RunHook
from mox_core.hooks.log_line import format_metrics

if TYPE_CHECKING:
    from mox_core.engine import StepResults
    from mox_core.running.state import RunState

__all__ = ["EarlyStoppingHook", "LogEvaluationMetricHook"]


class LogEvaluationMetricHook(RunHook):
    """Evaluates every n epochs on the inter mode's data and logs the means.

    Return it in `ModelSpec.hooks` and pass `mox.run(inter_mode=mox.ModeKeys.EVAL)`: the tensors
    of `monitor_info` are those of the inter-mode call of model_fn.

    An epoch is ceil(samples_in_train / batch_size) steps; the hook fires at the end of steps s for
    which (s + 1) is a multiple of the period. An evaluation takes
    ceil(samples_in_eval / batch_size) batches.

    Args:
        monitor_info: name -> scalar tensor.
        batch_size: samples per step.
        samples_in_train: samples of one training epoch.
        samples_in_eval: samples of one evaluation.
        evaluate_every_n_epochs: epochs between evaluations; may be a fraction.
        prefix: begins the log line.

    Raises:
        SpecError: an argument does not fit.
    """

    inter_mode = True
    fetch = Fetch()

    def __init__(
        self,
        monitor_info: Mapping[str, Any],
        batch_size: int,
        samples_in_train: int,
        samples_in_eval: int,
        evaluate_every_n_epochs: float = 1,
        prefix: str = "[VALIDATION METRICS]",
    ) -> None:
        if not isinstance(monitor_info, Mapping) or not monitor_info:
            raise SpecError(
                f"{type(self).__name__}: monitor_info is {monitor_info!r}; "
                "it has to be a dict of name -> scalar tensor."
            )
        counts = {
            "batch_size": batch_size,
            "samples_in_train": samples_in_train,
            "samples_in_eval": samples_in_eval,
            "evaluate_every_n_epochs": evaluate_every_n_epochs,
        }
        for name, value in counts.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
                raise SpecError(
                    f"{type(self).__name__}: {name} is {value!r}; it has to be a number above 0."
                )
        self.monitor_info = dict(monitor_info)
        self.prefix = prefix
        steps_per_epoch = math.ceil(samples_in_train / batch_size)
        self.period = max(1, math.ceil(steps_per_epoch * evaluate_every_n_epochs))
        self.eval_steps = math.ceil(samples_in_eval / batch_size)

    def next_step(self, step: int) -> int | None:
        return -(-(step + 1) // self.period) * self.period - 1

    def on_step_end(self, run: RunState, results: StepResults) -> None:
        metrics = run.evaluate(self.monitor_info, self.eval_steps)
        if not metrics:
            return  # interrupted
        run.logger.info("%s step: %d %s", self.prefix, run.last_step, format_metrics(metrics, " "))
        self.on_metrics(run, metrics)

    def on_metrics(self, run: RunState, metrics: Mapping[str, float]) -> None:
        """Called with the means of each evaluation; to be overridden."""


class EarlyStoppingHook(LogEvaluationMetricHook):
    """Stops the run when `monitor` has not improved for `patience` evaluations.

    The first evaluation only sets the mark, so with patience=3 the run stops after the 4th of
    four evaluations without improvement. The best value and the count survive a restart.

    Args:
        monitor_info: name -> scalar tensor.
        monitor: the name in monitor_info that is watched.
        batch_size: samples per step.
        samples_in_train: samples of one training epoch.
        samples_in_eval: samples of one evaluation.
        evaluate_every_n_epochs: epochs between evaluations.
        min_delta: a change of no more than this is no improvement.
        patience: evaluations without improvement until the run stops; 1 or more.
        prefix: begins the log line.
        mode: `"max"`, `"min"`, or `"auto"`: less is better for names that hold "loss", "error" or
            "perplexity", more is better for all others.

    Raises:
        SpecError: an argument does not fit.
    """

    def __init__(
        self,
        monitor_info: Mapping[str, Any],
        monitor: str,
        batch_size: int,
        samples_in_train: int,
        samples_in_eval: int,
        evaluate_every_n_epochs: float = 1,
        min_delta: float = 0.0,
        patience: int = 1,
        prefix: str = "[EarlyStopping]",
        mode: str = "auto",
    ) -> None:
        super().__init__(
            monitor_info,
            batch_size,
            samples_in_train,
            samples_in_eval,
            evaluate_every_n_epochs,
            prefix,
        )
        if monitor not in self.monitor_info:
            raise SpecError(
                f"EarlyStoppingHook: monitor={monitor!r} is not in monitor_info "
                f"(it has {', '.join(self.monitor_info)})."
            )
        if mode not in ("auto", "min", "max"):
            raise SpecError(f"EarlyStoppingHook: mode={mode!r}; use 'auto', 'min' or 'max'.")
        if isinstance(patience, bool) or not isinstance(patience, int) or patience < 1:
            raise SpecError(f"EarlyStoppingHook: patience={patience!r}; it has to be 1 or more.")
        falling = any(word in monitor.lower() for word in ("loss", "error", "perplexity"))
        self._sign = -1.0 if mode == "min" or (mode == "auto" and falling) else 1.0
        self._min_delta = abs(min_delta)
        self._patience = patience
        self.monitor = monitor
        self.best: float | None = None
        self.waited = 0

    def on_metrics(self, run: RunState, metrics: Mapping[str, float]) -> None:
        value = metrics[self.monitor]
        best = self.best
        if best is None or math.isnan(best) or self._sign * (value - best) > self._min_delta:
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited >= self._patience:
            run.stop(
                f"early stopping: {self.monitor} has not improved on {self.best:.3f} for "
                f"{self.waited} evaluations"
            )

    def state(self) -> dict[str, Any]:
        return {} if self.best is None else {"best": self.best, "waited": self.waited}

    def load_state(self, state: dict[str, Any]) -> None:
        self.best, self.waited = state["best"], state["waited"]
