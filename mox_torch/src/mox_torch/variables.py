"""All that a program saves, by name: the model's variables, optimizer state, the global step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from mox_core.eager import GLOBAL_STEP, HeldVariables
from mox_core.engine import VariableInfo
from mox_torch.model import to_numpy
from mox_torch.optimizer_state import OptimizerState
from mox_torch.store import VariableStore

__all__ = ["Variables"]


class Variables(HeldVariables):
    """Reads and writes them.

    Args:
        store: the model's variables.
        states: of the optimizers.
    """

    def __init__(self, store: VariableStore, states: Sequence[OptimizerState]) -> None:
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
        model, state = self._store.tensors(), self._state()
        return [
            VariableInfo(name, tuple(tensor.shape), _dtype_name(tensor.dtype), name in state)
            for name, tensor in {**model, **state}.items()
        ]

    def nonfinite(self) -> list[str]:
        """Names of those that hold NaN or infinity."""
        tensors = {n: t for n, t in self.tensors().items() if t.is_floating_point()}
        flags = [torch.isfinite(tensor).all().cpu() for tensor in tensors.values()]
        return [name for name, finite in zip(tensors, flags, strict=True) if not finite]

    def _set(self, values: Mapping[str, Any]) -> None:
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

    def _state(self) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = {}
        for state in self._states:
            found.update(state.tensors())
        return {**found, GLOBAL_STEP: torch.tensor(self.global_step)}


def _dtype_name(dtype: torch.dtype) -> str:
    return "float32" if dtype == torch.bfloat16 else str(dtype).removeprefix("torch.")
