"""All that a program saves, by name: the model's variables, optimizer state, the global step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from mox_core.engine import RestoreReport, VariableInfo
from mox_core.errors import SpecError

__all__ = ["GLOBAL_STEP", "State", "Variable", "Variables", "in_scopes"]

GLOBAL_STEP = "global_step"

Convert = Callable[[Any], Any]


def _same(array: Any) -> Any:
    return array


@dataclass(eq=False)
class Variable:
    """A variable of the model.

    Args:
        name: with scopes.
        shape: as checkpoints have it.
        arrays: MXNet's array of each context.
        trainable: whether optimizers may update it.
        to_saved: NumPy array in MXNet's layout -> in the layout of checkpoints.
        from_saved: the opposite.

    Attributes:
        gradients: MXNet's array of each context, where gradients are taken.
    """

    name: str
    shape: tuple[int, ...]
    arrays: list[Any]
    trainable: bool
    to_saved: Convert = _same
    from_saved: Convert = _same
    gradients: list[Any] = field(default_factory=list)

    def read(self) -> Any:
        """A copy of its value, as checkpoints have it."""
        return np.ascontiguousarray(self.to_saved(self.arrays[0].asnumpy())).reshape(self.shape)

    def write(self, value: Any) -> None:
        """Sets it in all contexts."""
        native = np.ascontiguousarray(self.from_saved(value), self.arrays[0].dtype)
        for array in self.arrays:
            array[:] = native.reshape(array.shape)


class State(Protocol):
    """The state of an optimizer, by name."""

    def arrays(self) -> dict[str, Any]:
        """Name -> copy of a value, as checkpoints have it."""

    def assign(self, values: Mapping[str, Any]) -> None:
        """Sets those of the values that are its own."""


class Variables:
    """Reads and writes them.

    Args:
        model: the model's variables.
        states: of the optimizers.

    Attributes:
        global_step: how many updates the variables have seen.
    """

    def __init__(self, model: Sequence[Variable], states: Sequence[State]) -> None:
        self.global_step = 0
        self._model = {one.name: one for one in model}
        self._states = states

    def arrays(self) -> dict[str, Any]:
        """Name -> copy as a NumPy array."""
        return {**{name: one.read() for name, one in self._model.items()}, **self._state()}

    def infos(self) -> list[VariableInfo]:
        """Describes them."""
        model = [
            VariableInfo(one.name, one.shape, np.dtype(one.arrays[0].dtype).name)
            for one in self._model.values()
        ]
        state = [
            VariableInfo(name, array.shape, array.dtype.name)
            for name, array in self._state().items()
        ]
        return model + state

    def nonfinite(self) -> list[str]:
        """Names of those that hold NaN or infinity."""
        return [
            name
            for name, array in self.arrays().items()
            if array.dtype.kind == "f" and not np.isfinite(array).all()
        ]

    def assign(self, values: Mapping[str, Any]) -> None:
        """Sets variables, or changes nothing when a name or a shape does not fit.

        Raises:
            SpecError: it does not.
        """
        current = {info.name: info.shape for info in self.infos()}
        for name, value in values.items():
            if name not in current or tuple(np.shape(value)) != current[name]:
                raise SpecError(
                    f"there is no variable {name!r} of shape {np.shape(value)} in this program."
                )
        for name, value in values.items():
            if name in self._model:
                self._model[name].write(np.asarray(value))
        for state in self._states:
            state.assign(values)
        if GLOBAL_STEP in values:
            self.global_step = int(values[GLOBAL_STEP])

    def take(
        self, saved: Mapping[str, Any], include: Callable[[str], bool], *, state: bool
    ) -> RestoreReport:
        """Assigns what was saved, after all of it has been checked. See `Program.restore`."""
        report = RestoreReport.compare(
            {info.name: info.shape for info in self.infos()},
            {name: array.shape for name, array in saved.items()},
            include,
            state_names=self._state().keys(),
            state=state,
        )
        self.assign({name: saved[name] for name in report.restored})
        return report

    def _state(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for state in self._states:
            found.update(state.arrays())
        return {**found, GLOBAL_STEP: np.asarray(self.global_step, np.int64)}


def in_scopes(name: str, scopes: Sequence[str] | None) -> bool:
    """Whether a variable lies in one of the scopes; None means all."""
    return scopes is None or any(name == one or name.startswith(f"{one}/") for one in scopes)
