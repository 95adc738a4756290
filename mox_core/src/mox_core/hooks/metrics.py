"""metrics.jsonl: the logged values as one JSON object per line."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any

from mox_core.errors import MoxError
from mox_core.hooks.base import RunHook
from mox_core.hooks.log_line import LogHook

if TYPE_CHECKING:
    from mox_core.engine import StepResults
    from mox_core.running.state import RunState

__all__ = ["MetricsHook"]

FILENAME = "metrics.jsonl"


class MetricsHook(RunHook):
    """Appends what the log line shows to `log_dir/metrics.jsonl`.

    A training line has `step`, `global_step`, `time` (seconds since the epoch), `sample_per_sec`
    and every value of log_info; an evaluation has `mode: "EVAL"` and the means. Values that are not
    finite become null. When a run resumes, lines of training steps that it will do again go.

    Args:
        log: the hook whose rate is written along.
    """

    def __init__(self, log: LogHook) -> None:
        self.every_n_steps = log.every_n_steps
        self._log = log
        self._file: IO[str] | None = None

    def on_start(self, run: RunState) -> None:
        assert run.log_dir is not None
        self._close()
        path = os.path.join(run.log_dir, FILENAME)
        try:
            os.makedirs(run.log_dir, exist_ok=True)
            if run.plan.training and os.path.exists(path):
                _drop_steps_from(path, run.step)
            self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - closed in _close
        except OSError as error:
            raise MoxError(
                f"{path} cannot be written: {error.strerror}.\n  Choose another log_dir."
            ) from error

    def on_restored(self, run: RunState) -> None:
        self.on_start(run)

    def on_step_end(self, run: RunState, results: StepResults) -> None:
        if not run.plan.training:
            return
        self._write(
            {
                "mode": str(run.mode),
                "step": run.last_step,
                "global_step": run.last_global_step,
                "time": time.time(),
                "sample_per_sec": self._log.sample_per_sec,
                **run.metrics,
            }
        )

    def on_eval_end(self, run: RunState, metrics: Mapping[str, float]) -> None:
        record = {"mode": "EVAL", "global_step": run.global_step, "time": time.time()}
        if run.plan.training:
            record["step"] = run.last_step
        self._write({**record, **metrics})

    def on_error(self, run: RunState, error: BaseException) -> None:
        self._close()

    def on_end(self, run: RunState) -> None:
        self._close()

    def _write(self, record: dict[str, Any]) -> None:
        if self._file is None:
            return
        finite = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in record.items()
        }
        try:
            self._file.write(json.dumps(finite) + "\n")
            self._file.flush()
        except OSError as error:
            path = self._file.name
            with contextlib.suppress(OSError):  # it tries to write the line once more
                self._close()
            raise MoxError(
                f"{path} cannot be written: {error.strerror}.\n"
                "  Free some space, then run the same command again."
            ) from error

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def _drop_steps_from(path: str, step: int) -> None:
    with open(path, encoding="utf-8") as file:
        lines = file.readlines()
    kept = [line for line in lines if _step_of(line) < step]
    if len(kept) == len(lines):
        return
    temporary = f"{path}.tmp"
    with open(temporary, "w", encoding="utf-8") as file:
        file.writelines(kept)
    os.replace(temporary, path)


def _step_of(line: str) -> float:
    """The training step of a line; -1 for lines without; infinity for a line cut by a kill."""
    try:
        record = json.loads(line)
    except ValueError:
        return math.inf
    return float(record.get("step", -1)) if isinstance(record, dict) else math.inf
