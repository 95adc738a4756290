"""Calling model_fn, and what its ModelSpec holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mox_core.errors import SpecError
from mox_core.hooks.base import RunHook
from mox_core.spec import ExportSpec, Mode, ModelSpec, not_scalar_error
from mox_torch.inputs import Batch, samples_of, type_name
from mox_torch.neutral import NeutralModel
from mox_torch.settings import Settings
from mox_torch.store import VariableStore

__all__ = [
    "Caller",
    "ModelCall",
    "NativeModel",
    "check_spec",
    "checked_export_spec",
    "checked_hooks",
    "floats",
    "to_numpy",
]


@dataclass(eq=False, slots=True)
class ModelCall:
    """One call of model_fn.

    Args:
        inputs: what it got.
        spec: what it returned.
    """

    inputs: Batch
    spec: ModelSpec

    @property
    def samples(self) -> int | None:
        """The leading dimension of the first input."""
        return samples_of(self.inputs)

    def outputs(self) -> dict[str, Any]:
        """`output_info` as arrays."""
        return {name: to_numpy(value) for name, value in (self.spec.output_info or {}).items()}


class NativeModel:
    """A model_fn of PyTorch, with the interface of `NeutralModel`.

    Args:
        model_fn: the user's function.
    """

    def __init__(self, model_fn: Callable[..., Any]) -> None:
        self._model_fn = model_fn
        self._first: dict[Mode, ModelSpec] = {}

    def __call__(
        self, batch: Batch, mode: Mode, *, losses_only: bool = False, update: bool = True
    ) -> ModelSpec:
        """Calls model_fn, which always computes everything."""
        spec = self._model_fn(batch, mode)
        if losses_only and isinstance(spec, ModelSpec) and isinstance(spec.loss, torch.Tensor):
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
        find = _tensor_finder(self._first[mode])
        getters = {}
        for name, value in values.items():
            getters[name] = find(value)
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


@dataclass(frozen=True, slots=True)
class Caller:
    """Calls a model in the precision of the run, while its store is active.

    Args:
        model: the user's functions.
        store: the variables.
        settings: for autocast.
    """

    model: NativeModel | NeutralModel
    store: VariableStore
    settings: Settings

    def __call__(
        self, inputs: Batch, mode: Mode, *, losses_only: bool = False, update: bool = True
    ) -> ModelCall:
        """Runs the model; the ModelSpec has all that the mode needs.

        Args:
            inputs: one batch.
            mode: the run mode.
            losses_only: nobody looks at anything else.
            update: in TRAIN, whether statistics of the data may be kept.
        """
        if self.store.collections:
            self.store.collections.clear()
        if self.settings.autocast is None:
            spec = self.model(inputs, mode, losses_only=losses_only, update=update)
        else:
            with self._precision():
                spec = self.model(inputs, mode, losses_only=losses_only, update=update)
        return ModelCall(inputs, spec)

    def evaluator(
        self, inputs: Batch, mode: Mode, values: Mapping[str, Any]
    ) -> Callable[[Batch], dict[str, Any]]:
        """Returns a function: batch -> what tensors of the mode's first call are then."""
        evaluate = self.model.evaluator(inputs, mode, values)

        def in_context(batch: Batch) -> dict[str, Any]:
            with self._precision():
                return evaluate(batch)

        return in_context

    def _precision(self) -> AbstractContextManager[Any]:
        dtype = self.settings.autocast
        return torch.autocast(self.settings.device.type, dtype=dtype, enabled=dtype is not None)


def check_spec(spec: ModelSpec, mode: Mode) -> None:
    """Checks what later steps rely on.

    Raises:
        SpecError: a loss or a log_info that is no scalar, or tensors of something else.
    """
    for index, loss in enumerate(spec.losses):
        where = f"loss[{index}]" if len(spec.losses) > 1 else "loss"
        if not isinstance(loss, torch.Tensor):
            raise _foreign(f"ModelSpec.{where}", loss)
        if loss.dim():
            raise not_scalar_error(where, tuple(loss.shape), mode)
    for name, value in (spec.log_info or {}).items():
        if not isinstance(value, (torch.Tensor, int, float, np.generic, np.ndarray)):
            raise _foreign(f"ModelSpec.log_info[{name!r}]", value)
        shape = tuple(value.shape) if isinstance(value, torch.Tensor) else np.shape(value)
        if shape:
            raise not_scalar_error(f"log_info[{name!r}]", shape, mode)
    for name, value in (spec.output_info or {}).items():
        if not isinstance(value, (torch.Tensor, int, float, np.generic, np.ndarray)):
            raise _foreign(f"ModelSpec.output_info[{name!r}]", value)


def checked_hooks(spec: ModelSpec) -> tuple[RunHook, ...]:
    """The hooks of a ModelSpec.

    Raises:
        SpecError: one is no RunHook.
    """
    for index, hook in enumerate(spec.hooks or ()):
        if not isinstance(hook, RunHook):
            raise SpecError(
                f"ModelSpec.hooks[{index}] is a {type_name(hook)}; "
                "engine 'torch' takes mox.RunHook only."
            )
    return tuple(spec.hooks or ())


def checked_export_spec(spec: ModelSpec) -> ExportSpec | None:
    """The ExportSpec of a ModelSpec.

    Raises:
        SpecError: it holds something else than tensors.
    """
    export = spec.export_spec
    if export is not None:
        for where in ("inputs_dict", "outputs_dict"):
            for name, tensor in getattr(export, where).items():
                if not isinstance(tensor, torch.Tensor):
                    raise _foreign(f"ExportSpec.{where}[{name!r}]", tensor)
    return export


def floats(values: Mapping[str, Any], where: str, mode: str) -> dict[str, float]:
    """Scalars as numbers, brought from the device in one go.

    Raises:
        SpecError: one is no scalar; `where` and its name go into the message.
    """
    tensors = []
    for name, value in values.items():
        tensor = value.detach() if isinstance(value, torch.Tensor) else torch.as_tensor(value)
        if tensor.dim():
            raise not_scalar_error(f"{where}[{name!r}]", tuple(tensor.shape), mode)
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


Getter = Callable[[ModelSpec], Any]


def _tensor_finder(spec: ModelSpec) -> Callable[[Any], Getter | None]:
    """Returns a function: tensor of `spec` -> how to get its like from another ModelSpec.

    That is how the tensors of a hook are computed again: model_fn is called again, and what it
    returns has the same shape.
    """
    known = {id(tensor): getter for tensor, getter in _tensors_of(spec)}
    return lambda tensor: known.get(id(tensor))


def _tensors_of(spec: ModelSpec) -> Iterator[tuple[Any, Getter]]:
    for field in ("log_info", "output_info"):
        for key, tensor in (getattr(spec, field) or {}).items():
            yield tensor, lambda other, f=field, k=key: getattr(other, f)[k]  # type: ignore[misc]
    for index, loss in enumerate(spec.losses):
        yield loss, lambda other, i=index: other.losses[i]  # type: ignore[misc]
    for index, hook in enumerate(spec.hooks or ()):
        for name, held in vars(hook).items():
            if isinstance(held, Mapping):
                for key, tensor in held.items():
                    yield (
                        tensor,
                        lambda other, i=index, n=name, k=key: getattr(other.hooks[i], n)[k],  # type: ignore[misc]
                    )


def _foreign(where: str, value: object) -> SpecError:
    return SpecError(f"{where} is a {type_name(value)}; engine 'torch' needs a torch.Tensor there.")
