"""All that a program saves, by name: the model's variables, optimizer state, the global step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from mox_core.engine import RestoreReport, VariableInfo
from mox_core.errors import SpecError
from mox_torch.model import to_numpy
from mox_torch.optimizer_state import OptimizerState
from mox_torch.store import VariableStore

__all__ = ["GLOBAL_STEP", "Variables"]

GLOBAL_STEP = "global_step"


class Variables:
    """Reads and writes them.

    Args:
        store: the model's variables.
        states: of the optimizers.

    Attributes:
        global_step: how many updates the variables have seen.
    """

    def __init__(self, store: VariableStore, states: Sequence[OptimizerState]) -> None:
        self.global_step = 0
        self._store = store
        self._states = states

    def tensors(self) -> dict[str, torch.Tensor]:
        """Name -> tensor; the model's own are not copies."""
        return {**self._store.tensors(), **self._state()}

    def arrays(self) -> dict[str, Any]:
        """Name -> copy as a NumPy array."""
        return {name: np.array(to_numpy(tensor)) for name, tensor in self.tensors().items()}

    def infos(self) -> list[VariableInfo]:
        """Describes them."""
        return [
            VariableInfo(name, tuple(tensor.shape), _dtype_name(tensor.dtype))
            for name, tensor in self.tensors().items()
        ]

    def nonfinite(self) -> list[str]:
        """Names of those that hold NaN or infinity."""
        tensors = {n: t for n, t in self.tensors().items() if t.is_floating_point()}
        flags = [torch.isfinite(tensor).all().cpu() for tensor in tensors.values()]
        return [name for name, finite in zip(tensors, flags, strict=True) if not finite]

    def assign(self, values: Mapping[str, Any]) -> None:
        """Sets variables, or changes nothing when a name or a shape does not fit.

        Raises:
            SpecError: it does not.
        """
        current = self.tensors()
        for name, value in values.items():
            if name not in current or tuple(np.shape(value)) != tuple(current[name].shape):
                raise SpecError(
                    f"there is no variable {name!r} of shape {np.shape(value)} in this program."
                )
        given = {
            name: value if isinstance(value, torch.Tensor) else torch.as_tensor(np.array(value))
            for name, value in values.items()
        }
        model = self._store.tensors()
        with torch.no_grad():
            for name, value in given.items():
                if name in model:
                    model[name].copy_(value)
            for state in self._states:
                state.assign(given)
        if GLOBAL_STEP in given:
            self.global_step = int(given[GLOBAL_STEP])

    def take(
        self, saved: Mapping[str, torch.Tensor], include: Callable[[str], bool], *, state: bool
    ) -> RestoreReport:
        """Assigns what was saved, after all of it has been checked. See `Program.restore`."""
        report = RestoreReport.compare(
            {name: tensor.shape for name, tensor in self.tensors().items()},
            {name: tensor.shape for name, tensor in saved.items()},
            include,
            state_names=self._state().keys(),
            state=state,
        )
        self.assign({name: saved[name] for name in report.restored})
        return report

    def _state(self) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = {}
        for state in self._states:
            found.update(state.tensors())
        return {**found, GLOBAL_STEP: torch.tensor(self.global_step)}


def _dtype_name(dtype: torch.dtype) -> str:
    return "float32" if dtype == torch.bfloat16 else str(dtype).removeprefix("torch.")
