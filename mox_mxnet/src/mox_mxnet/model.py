"""Calling model_fn, and what its ModelSpec holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mox_core.errors import SpecError
from mox_core.spec import Mode, ModelSpec
from mox_core.spec_rules import SpecRules, tensor_getters
from mox_mxnet.importing import load
from mox_mxnet.inputs import Batch, check_samples, placed, samples_of
from mox_mxnet.store import VariableStore

__all__ = ["RULES", "ModelCall", "NativeModel", "floats", "to_numpy"]

mx = load()
NDArray = mx.nd.NDArray

# Reductions of MXNet's have the shape (1,).
RULES = SpecRules("mxnet", NDArray, "a mx.nd.NDArray", scalar_shapes=((), (1,)))


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
        known = tensor_getters(self._first[mode])
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


def floats(values: Mapping[str, Any], where: str, mode: str) -> dict[str, float]:
    """Scalars as numbers.

    Raises:
        SpecError: one is no scalar; `where` and its name go into the message.
    """
    found = {}
    for name, value in values.items():
        RULES.require_scalar(value, f"{where}[{name!r}]", mode)
        found[name] = float(value.asscalar() if isinstance(value, NDArray) else np.ravel(value)[0])
    return found


def to_numpy(value: Any) -> Any:
    """An array of MXNet as one of NumPy."""
    return value.asnumpy() if isinstance(value, NDArray) else np.asarray(value)
