"""Calling model_fn, and what its ModelSpec holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mox_core.errors import SpecError
from mox_core.hooks.base import RunHook
from mox_core.spec import ExportSpec, Mode, ModelSpec, not_scalar_error
from mox_mxnet.importing import load
from mox_mxnet.inputs import Batch, check_samples, placed, samples_of, type_name
from mox_mxnet.store import VariableStore

__all__ = [
    "ModelCall",
    "NativeModel",
    "check_spec",
    "checked_export_spec",
    "checked_hooks",
    "floats",
    "to_numpy",
]

mx = load()
NDArray = mx.nd.NDArray


@dataclass(frozen=True, eq=False)
class ModelCall:
    """One call of the model.

    Args:
        samples: the leading dimension of the first input.
        spec: what it returned, with arrays of MXNet.
        after: to be called after the update, or None.
        scalars: names in `output_info` of what has no dimensions; MXNet's own arrays have one.
    """

    samples: int | None
    spec: ModelSpec
    after: Callable[[], None] | None = None
    scalars: frozenset[str] = frozenset()

    def outputs(self) -> dict[str, Any]:
        """`output_info` as arrays."""
        found = {name: to_numpy(value) for name, value in (self.spec.output_info or {}).items()}
        return {n: a.reshape(()) if n in self.scalars else a for n, a in found.items()}


class NativeModel:
    """A model_fn of MXNet.

    Args:
        model_fn: the user's function.
        store: the variables.
        contexts: that of each tower.
    """

    def __init__(
        self, model_fn: Callable[..., Any], store: VariableStore, contexts: list[Any]
    ) -> None:
        self._model_fn = model_fn
        self._store = store
        self._contexts = contexts
        self._first: dict[Mode, ModelSpec] = {}

    def __call__(
        self, batch: Batch, mode: Mode, *, tower: int = 0, losses_only: bool = False
    ) -> ModelCall:
        """Calls model_fn, which always computes everything.

        Args:
            batch: as it was read.
            mode: the run mode.
            tower: whose context it is computed in.
            losses_only: whether nobody looks at anything else.
        """
        check_samples(batch, mode)
        spec = self._spec(batch, mode, tower)
        if not (losses_only and isinstance(spec, ModelSpec) and isinstance(spec.loss, NDArray)):
            spec = ModelSpec.require(spec, mode)
        if not mx.autograd.is_recording():  # a training step's would keep what was recorded
            self._first.setdefault(mode, spec)
        return ModelCall(samples_of(batch), spec)

    def evaluator(self, mode: Mode, values: Mapping[str, Any]) -> Callable[[Batch], dict[str, Any]]:
        """Returns a function: batch -> what `values`, tensors of the first call, are then.

        Raises:
            SpecError: model_fn did not return one of them.
        """
        known = {id(tensor): getter for tensor, getter in _tensors_of(self._first[mode])}
        getters = {}
        for name, value in values.items():
            getters[name] = known.get(id(value))
            if getters[name] is None and isinstance(value, NDArray):
                raise SpecError(
                    f"hooks: monitor_info[{name!r}] is a tensor that model_fn did not return.\n"
                    "  Hand it to the hook in a dict, or put it into log_info."
                )

        def evaluate(batch: Batch) -> dict[str, Any]:
            spec = self(batch, mode).spec
            return {
                name: getter(spec) if getter else values[name] for name, getter in getters.items()
            }

        return evaluate

    def unhybridize(self) -> None:
        """Has blocks call one operation after the other, so that MXNet can record them."""
        self._store.unhybridize()

    def _spec(self, batch: Batch, mode: Mode, tower: int) -> Any:
        context = self._contexts[tower]
        if isinstance(batch, dict):
            inputs: Batch = {key: placed(one, context) for key, one in batch.items()}
        else:
            inputs = [placed(one, context) for one in batch]
        with self._store, context:
            return self._model_fn(inputs, mode)


def check_spec(spec: ModelSpec, mode: Mode) -> None:
    """Checks what later steps rely on.

    Raises:
        SpecError: a loss or a log_info that is no scalar, or tensors of something else.
    """
    for index, loss in enumerate(spec.losses):
        where = f"loss[{index}]" if len(spec.losses) > 1 else "loss"
        if not isinstance(loss, NDArray):
            raise _foreign(f"ModelSpec.{where}", loss)
        if not _is_scalar(loss):
            raise not_scalar_error(where, tuple(loss.shape), mode)
    for name, value in (spec.log_info or {}).items():
        if not _is_array(value):
            raise _foreign(f"ModelSpec.log_info[{name!r}]", value)
        if not _is_scalar(value):
            raise not_scalar_error(f"log_info[{name!r}]", tuple(np.shape(value)), mode)
    for name, value in (spec.output_info or {}).items():
        if not _is_array(value):
            raise _foreign(f"ModelSpec.output_info[{name!r}]", value)


def _is_array(value: Any) -> bool:
    return isinstance(value, (NDArray, int, float, np.generic, np.ndarray))


def _is_scalar(value: Any) -> bool:
    """Reductions of MXNet's have the shape (1,)."""
    shape = value.shape if isinstance(value, NDArray) else np.shape(value)
    return tuple(shape) in ((), (1,))


def checked_hooks(spec: ModelSpec) -> tuple[RunHook, ...]:
    """The hooks of a ModelSpec.

    Raises:
        SpecError: one is no RunHook.
    """
    for index, hook in enumerate(spec.hooks or ()):
        if not isinstance(hook, RunHook):
            raise SpecError(
                f"ModelSpec.hooks[{index}] is a {type_name(hook)}; "
                "engine 'mxnet' takes mox.RunHook only."
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
                if not isinstance(tensor, NDArray):
                    raise _foreign(f"ExportSpec.{where}[{name!r}]", tensor)
    return export


def floats(values: Mapping[str, Any], where: str, mode: str) -> dict[str, float]:
    """Scalars as numbers.

    Raises:
        SpecError: one is no scalar; `where` and its name go into the message.
    """
    found = {}
    for name, value in values.items():
        if not _is_scalar(value):
            raise not_scalar_error(f"{where}[{name!r}]", tuple(np.shape(value)), mode)
        found[name] = float(value.asscalar() if isinstance(value, NDArray) else np.ravel(value)[0])
    return found


def to_numpy(value: Any) -> Any:
    """An array of MXNet as one of NumPy."""
    return value.asnumpy() if isinstance(value, NDArray) else np.asarray(value)


Getter = Callable[[ModelSpec], Any]


def _tensors_of(spec: ModelSpec) -> Iterator[tuple[Any, Getter]]:
    """The tensors of a ModelSpec, and how to get the like from another one.

    That is how the tensors of a hook are computed again: model_fn is called again, and what it
    returns has the same shape.
    """
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
    return SpecError(
        f"{where} is a {type_name(value)}; engine 'mxnet' needs a mx.nd.NDArray there."
    )
