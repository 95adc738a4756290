"""The state of optimizers, by the names that a checkpoint has for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mox_core.errors import SpecError
from mox_core.wording import a_type
from mox_mxnet.importing import load
from mox_mxnet.optimizers import NeutralOptimizer
from mox_mxnet.variables import Variable

__all__ = ["NativeOptimizer", "NeutralState"]

mx = load()


class NeutralState:
    """Reads and writes the state of a `NeutralOptimizer`.

    Args:
        optimizer: it.
        variables: what it updates, in its order.
    """

    def __init__(self, optimizer: NeutralOptimizer, variables: Sequence[Variable]) -> None:
        self._optimizer = optimizer
        self._places = {
            f"{variable.name}/{slot.suffix}": (optimizer.slots[slot.role][place], variable)
            for place, variable in enumerate(variables)
            for slot in optimizer.spec.slots
        }

    def arrays(self) -> dict[str, Any]:
        """Name -> copy of a value, as checkpoints have it."""
        slots = {name: _saved(array, variable) for name, (array, variable) in self._places.items()}
        scalars = self._optimizer.scalars
        return {**slots, **{name: np.asarray(value) for name, value in scalars.items()}}

    def assign(self, values: Mapping[str, Any]) -> None:
        """Sets those of the values that are its own."""
        for name, (array, variable) in self._places.items():
            if name in values:
                _load(array, variable, values[name])
        for name in self._optimizer.scalars:
            if name in values:
                self._optimizer.scalars[name] = float(values[name])


class NativeOptimizer:
    """One of `mx.optimizer` over some variables, and its state.

    The state of a variable is called `<variable>/<class>`, with a number behind it where there
    are several arrays; how many updates there were is `<class>/num_update`.

    Args:
        optimizer: MXNet's.
        variables: what it updates.
        suffix: goes behind every name.

    Raises:
        SpecError: it keeps what is no array.
    """

    def __init__(self, optimizer: Any, variables: Sequence[Variable], *, suffix: str = "") -> None:
        self._optimizer = optimizer
        self._variables = list(variables)
        self._weights = [one.arrays[0] for one in variables]
        # What MXNet updates at once takes as long as if all had the size of the largest.
        self._by_size = sorted(range(len(self._weights)), key=lambda n: self._weights[n].size)
        optimizer.idx2name = {place: one.name for place, one in enumerate(variables)}
        self._states = [
            optimizer.create_state_multi_precision(place, weight)
            for place, weight in enumerate(self._weights)
        ]
        self._kind = type(optimizer).__name__
        self._count_name = f"{self._kind}/num_update{suffix}"
        self._places: dict[str, tuple[Any, Variable]] = {}
        for variable, state in zip(variables, self._states, strict=True):
            for number, array in enumerate(self._arrays_of(state)):
                which = f"_{number}" if number else ""
                self._places[f"{variable.name}/{self._kind}{which}{suffix}"] = (array, variable)

    def step(self, gradients: Sequence[Any], global_step: int) -> None:
        """Updates all variables; None stands for a gradient that this step does not have."""
        optimizer = self._optimizer
        places = [place for place in self._by_size if gradients[place] is not None]
        at_once = optimizer.aggregate_num
        if at_once > 1:
            for start in range(0, len(places), at_once):
                some = places[start : start + at_once]
                optimizer.update_multi_precision(
                    some,
                    [self._weights[place] for place in some],
                    [gradients[place] for place in some],
                    [self._states[place] for place in some],
                )
            return
        for place in places:
            optimizer.update_multi_precision(
                place, self._weights[place], gradients[place], self._states[place]
            )

    def arrays(self) -> dict[str, Any]:
        """Name -> copy of a value, as checkpoints have it."""
        found = {name: _saved(array, variable) for name, (array, variable) in self._places.items()}
        return {**found, self._count_name: np.asarray(self._optimizer.num_update, np.int64)}

    def assign(self, values: Mapping[str, Any]) -> None:
        """Sets those of the values that are its own."""
        for name, (array, variable) in self._places.items():
            if name in values:
                _load(array, variable, values[name])
        if self._count_name in values:
            optimizer, count = self._optimizer, int(values[self._count_name])
            optimizer.begin_num_update = optimizer.num_update = count
            for counts in optimizer._all_index_update_counts.values():
                counts.clear()

    def _arrays_of(self, state: Any) -> Iterator[Any]:
        if isinstance(state, mx.nd.NDArray):
            yield state
        elif isinstance(state, (tuple, list)):
            for one in state:
                yield from self._arrays_of(one)
        elif state is not None:
            raise SpecError(f"optimizer {self._kind} keeps {a_type(state)}, which mox cannot save.")


def _saved(array: Any, variable: Variable) -> Any:
    value = array.asnumpy()
    if array.shape != variable.arrays[0].shape:
        return value
    return np.ascontiguousarray(variable.to_saved(value)).reshape(variable.shape)


def _load(array: Any, variable: Variable, value: Any) -> None:
    if array.shape == variable.arrays[0].shape:
        value = variable.from_saved(np.asarray(value))
    array[:] = np.ascontiguousarray(value, array.dtype).reshape(array.shape)
