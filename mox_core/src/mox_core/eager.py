"""What engines have in common that call model_fn in every step and hold their variables themselves.

Not part of the contract: an engine may derive its program from `Program` and do all of it its own
way.
"""

from __future__ import annotations

import abc
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

import numpy as np

from mox_core.batches import BatchReader
from mox_core.engine import Cluster, Program, RestoreReport, VariableInfo
from mox_core.errors import SpecError

__all__ = [
    "DATA_ENDED",
    "GLOBAL_STEP",
    "GO_ON",
    "LEFT",
    "EagerProgram",
    "HeldVariables",
    "Processes",
    "Rows",
]

GLOBAL_STEP = "global_step"

GO_ON, DATA_ENDED, LEFT = "go on", "data ended", "left"
"""What a process says before a step to those that train along."""

_ENDS = {GO_ON: None, DATA_ENDED: "data", LEFT: "others"}  # as `StepResults.ended` has it

B = TypeVar("B")
Rows = tuple[dict[str, float], int | None]
"""What an evaluation finds for one batch: the values, and the number of samples."""


class HeldVariables(abc.ABC):
    """All that a program saves, by name: the model's variables, optimizer state, the global step.

    Attributes:
        global_step: how many updates the variables have seen.
    """

    global_step: int = 0

    @abc.abstractmethod
    def infos(self) -> list[VariableInfo]:
        """Describes them."""

    @abc.abstractmethod
    def arrays(self) -> dict[str, Any]:
        """Name -> copy as a NumPy array."""

    @abc.abstractmethod
    def nonfinite(self) -> list[str]:
        """Names of those that hold NaN or infinity."""

    @abc.abstractmethod
    def _set(self, values: Mapping[str, Any]) -> None:
        """Sets variables to arrays that fit; not the global step."""

    def assign(self, values: Mapping[str, Any]) -> None:
        """Sets variables, or changes nothing when a name or a shape does not fit.

        Raises:
            SpecError: it does not.
        """
        shapes = {info.name: info.shape for info in self.infos()}
        for name, value in values.items():
            shape = tuple(value.shape if hasattr(value, "shape") else np.shape(value))
            if shapes.get(name) != shape:
                raise SpecError(f"there is no variable {name!r} of shape {shape} in this program.")
        self._set(values)
        if GLOBAL_STEP in values:
            self.global_step = int(values[GLOBAL_STEP])

    def take(
        self, saved: Mapping[str, Any], include: Callable[[str], bool], *, state: bool
    ) -> RestoreReport:
        """Assigns what was saved, after all of it has been checked. See `Program.restore`."""
        infos = self.infos()
        report = RestoreReport.compare(
            {info.name: info.shape for info in infos},
            {name: tuple(array.shape) for name, array in saved.items()},
            include,
            state_names={info.name for info in infos if info.state},
            state=state,
        )
        self.assign({name: saved[name] for name in report.restored})
        return report


class Processes(abc.ABC):
    """Those that train together, each on its own part of the data.

    Attributes:
        cluster: this process's place among them.
    """

    cluster: Cluster

    @abc.abstractmethod
    def agree(self, word: str) -> str:
        """Tells the others what this process wants, and returns what all do then.

        That is LEFT when one says so, else DATA_ENDED when one does, else GO_ON.

        Raises:
            EngineError: another process failed; with its error.
        """

    @abc.abstractmethod
    def leave(self) -> None:
        """Says that this process is done, so that the others do not wait for it."""

    @abc.abstractmethod
    def fail(self, error: BaseException) -> None:
        """Tells the others the error of this process."""


class EagerProgram(Program, Generic[B]):
    """The user's functions, called in every step, and the variables that they share.

    `B` is the engine's kind of batch. What an engine adds: `towers`, `run_steps`, `save`,
    `restore`, `export`, and of the names below those without a value.
    """

    _variables: HeldVariables
    _feed: BatchReader[B] | None = None
    _inter_feed: BatchReader[B] | None = None
    _group: Processes | None = None

    @property
    def global_step(self) -> int:
        """How many updates were done."""
        return self._variables.global_step

    def start(self) -> None:
        """Nothing to do: the first call of model_fn has made the variables."""

    # ---- Steps -------------------------------------------------------------------------------

    def _end_before_step(self, *, has_data: bool) -> str | None:
        """Why there is no next step, which all processes have to do together."""
        if self._group is None:
            return None if has_data else "data"
        return _ENDS[self._group.agree(GO_ON if has_data else DATA_ENDED)]

    def evaluate(
        self, values: Mapping[str, Any], steps: int, stop: Callable[[], bool]
    ) -> list[Rows]:
        """Computes `values` for batches of the inter mode."""
        with self._evaluation(values) as compute:
            return [compute(batch) for batch in self._inter_batches(steps, stop)]

    def _evaluation(self, values: Mapping[str, Any]) -> AbstractContextManager[Callable[[B], Rows]]:
        """A context in which a function computes `values` for a batch, and changes nothing."""
        raise NotImplementedError(f"no inter mode ({sorted(values)})")

    def _inter_batches(self, steps: int, stop: Callable[[], bool]) -> Iterator[B]:
        feed = self._inter_feed
        assert feed is not None, "the program has no inter mode"
        batches = feed.take_again()
        for done in range(1, steps + 1):
            if not batches:
                return
            yield batches[0]
            if done == steps or stop():
                return
            batches = feed.take(1)

    # ---- Variables ---------------------------------------------------------------------------

    def variables(self) -> dict[str, Any]:
        """Copies of all that `save` writes."""
        return self._variables.arrays()

    def assign(self, values: Mapping[str, Any]) -> None:
        """Sets variables, or changes nothing when a name or a shape does not fit."""
        self._variables.assign(values)

    def variable_infos(self) -> list[VariableInfo]:
        """Describes all that `save` writes."""
        return self._variables.infos()

    def nonfinite_variables(self) -> list[str]:
        """Names of variables that hold NaN or infinity."""
        return self._variables.nonfinite()

    # ---- The end -----------------------------------------------------------------------------

    def close(self) -> None:
        """Ends the workers of data loaders; tells the other processes how this one ended."""
        if self._group is not None:
            error = sys.exc_info()[1]
            if error is None:
                self._group.leave()
            else:
                self._group.fail(error)
        for feed in (self._feed, self._inter_feed):
            if feed is not None:
                feed.close()
