"""All that a program saves, by name: the model's variables, optimizer state, the global step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from mox_core.eager import GLOBAL_STEP, HeldVariables
from mox_core.engine import VariableInfo

__all__ = ["State", "Variable", "Variables"]

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


class Variables(HeldVariables):
    """Reads and writes them.

    Args:
        model: the model's variables.
        states: of the optimizers.
    """

    def __init__(self, model: Sequence[Variable], states: Sequence[State]) -> None:
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
            VariableInfo(name, array.shape, array.dtype.name, state=True)
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

    def _set(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            if name in self._model:
                self._model[name].write(np.asarray(value))
        for state in self._states:
            state.assign(values)

    def _state(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for state in self._states:
            found.update(state.arrays())
        return {**found, GLOBAL_STEP: np.asarray(self.global_step, np.int64)}
