"""Calling model_fn, and what its ModelSpec holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from mox_core.errors import SpecError
from mox_core.spec import Mode, ModelSpec
from mox_core.spec_rules import SpecRules, tensor_getters
from mox_torch.inputs import Batch
from mox_torch.neutral import NeutralModel
from mox_torch.store import VariableStore

__all__ = [
    "RULES",
    "InPrecision",
    "Model",
    "NativeModel",
    "floats",
    "to_numpy",
]

RULES = SpecRules("torch", torch.Tensor, "a torch.Tensor")


class NativeModel:
    """A model_fn of PyTorch, with the interface of `NeutralModel`.

    Args:
        model_fn: the user's function.
        store: the variables.
    """

    def __init__(self, model_fn: Callable[..., Any], store: VariableStore) -> None:
        self._model_fn = model_fn
        self._store = store
        self._first: dict[Mode, ModelSpec] = {}

    def __call__(
        self, batch: Batch, mode: Mode, *, losses_only: bool = False, update: bool = True
    ) -> ModelSpec:
        """Calls model_fn, which always computes everything."""
        if self._store.collections:
            self._store.collections.clear()
        spec = self._model_fn(batch, mode)
        if losses_only and isinstance(spec, ModelSpec) and spec.losses:
            return spec
        spec = ModelSpec.require(spec, mode)
        if not torch.is_grad_enabled():  # a training step's would keep its graph alive
            self._first.setdefault(mode, spec)
        return spec

    def evaluator(
        self, batch: Batch, mode: Mode, values: Mapping[str, Any]
    ) -> Callable[[Batch], dict[str, Any]]:
        """Returns a function: batch -> what `values`, tensors of the first call, are then.

        Raises:
            SpecError: model_fn did not return one of them.
        """
        known = tensor_getters(self._first[mode])
        getters = {}
        for name, value in values.items():
            getters[name] = known.get(id(value))
            if getters[name] is None and isinstance(value, torch.Tensor):
                raise SpecError(
                    f"hooks: monitor_info[{name!r}] is a tensor that model_fn did not return.\n"
                    "  Hand it to the hook in a dict, or put it into log_info."
                )

        def evaluate(batch: Batch) -> dict[str, Any]:
            spec = self(batch, mode)
            return {
                name: getter(spec) if getter else values[name] for name, getter in getters.items()
            }

        return evaluate


class InPrecision:
    """A model that computes in half precision, with the interface of the others.

    Args:
        model: the user's functions.
        device: kind of the device.
        dtype: for autocast.
    """

    def __init__(self, model: NativeModel | NeutralModel, device: str, dtype: torch.dtype) -> None:
        self._model = model
        self._precision = partial(torch.autocast, device, dtype=dtype)

    def __call__(
        self, batch: Batch, mode: Mode, *, losses_only: bool = False, update: bool = True
    ) -> ModelSpec:
        """Runs the model."""
        with self._precision():
            return self._model(batch, mode, losses_only=losses_only, update=update)

    def evaluator(
        self, batch: Batch, mode: Mode, values: Mapping[str, Any]
    ) -> Callable[[Batch], dict[str, Any]]:
        """Returns a function: batch -> what tensors of the mode's first call are then."""
        evaluate = self._model.evaluator(batch, mode, values)

        def in_precision(batch: Batch) -> dict[str, Any]:
            with self._precision():
                return evaluate(batch)

        return in_precision


Model = NativeModel | NeutralModel | InPrecision


def floats(values: Mapping[str, Any], where: str, mode: str) -> dict[str, float]:
    """Scalars as numbers, brought from the device in one go.

    Raises:
        SpecError: one is no scalar; `where` and its name go into the message.
    """
    tensors = []
    for name, value in values.items():
        tensor = value.detach() if isinstance(value, torch.Tensor) else torch.as_tensor(value)
        RULES.require_scalar(tensor, f"{where}[{name!r}]", mode)
        tensors.append(tensor)
    if any(tensor.device.type != "cpu" for tensor in tensors):
        device = next(t.device for t in tensors if t.device.type != "cpu")
        numbers = torch.stack([t.to(device, torch.float64) for t in tensors]).tolist()
    else:
        numbers = [tensor.item() for tensor in tensors]
    return {name: float(number) for name, number in zip(values, numbers, strict=True)}


def to_numpy(value: Any) -> Any:
    """A tensor as a NumPy array; bfloat16, which NumPy lacks, becomes float32."""
    if not isinstance(value, torch.Tensor):
        return np.asarray(value)
    tensor = value.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
