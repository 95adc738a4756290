"""How the engine reads what a native input_fn returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mox_core.batches import BatchReader
from mox_core.errors import SpecError
from mox_core.wording import a_type
from mox_mxnet.importing import load

__all__ = ["Batch", "Feed", "check_samples", "items_of", "placed", "samples_of"]

mx = load()

Batch = list[Any] | dict[str, Any]
"""Arrays of MXNet, or before they are placed in a context NumPy arrays, too."""


class Feed(BatchReader[Batch]):
    """The batches of one input_fn; see `BatchReader` for what that returns.

    Besides, it may return a `mx.io.DataIter`, and items may be `mx.io.DataBatch`es: their data,
    then their labels.
    """

    def __init__(self, input_fn: Callable[..., Any], mode: str, **options: Any) -> None:
        super().__init__(lambda mode: _source(input_fn(mode)), mode, **options)

    def _converted(self, item: Any, number: int) -> Batch:
        if isinstance(item, mx.io.DataBatch):
            arrays = [*item.data, *(item.label or [])]
            kept = arrays[0].shape[0] - (item.pad or 0)
            return [array[:kept] if item.pad else array for array in arrays]
        if isinstance(item, (tuple, list)):
            return [_array(value, key, number, self._mode) for key, value in enumerate(item)]
        if isinstance(item, Mapping):
            return {key: _array(value, key, number, self._mode) for key, value in item.items()}
        return [_array(item, 0, number, self._mode)]

    def _stacked(self, samples: list[Batch]) -> Batch:
        stacked = {key: _stack([one[key] for one in samples]) for key, _ in items_of(samples[0])}  # type: ignore[index]
        return stacked if isinstance(samples[0], dict) else list(stacked.values())


def _source(returned: Any) -> Any:
    """What `BatchReader` can begin again."""
    if not isinstance(returned, mx.io.DataIter):
        return returned

    def begin() -> Any:
        returned.reset()
        return returned

    return begin


def _stack(samples: list[Any]) -> Any:
    if not isinstance(samples[0], mx.nd.NDArray):
        return np.stack(samples)
    return mx.nd.stack(*samples)


def _array(value: Any, key: object, number: int, mode: str) -> Any:
    if isinstance(value, mx.nd.NDArray):
        return value
    if isinstance(value, (np.ndarray, np.generic, int, float, bool, list, tuple)):
        try:
            array = np.asarray(value)
        except ValueError:  # rows of unequal length
            array = np.asarray(None)
        if array.dtype == np.float64 and not isinstance(value, (np.ndarray, np.generic)):
            array = array.astype(np.float32)  # Python's numbers have no dtype of their own
        if array.dtype.kind in "fiub":
            return array
    raise SpecError(
        f"inputs[{key!r}] of item {number} of input_fn({mode!s}) is {a_type(value)}.\n"
        "  Engine 'mxnet' takes arrays of MXNet and NumPy arrays of numbers."
    )


def placed(array: Any, context: Any) -> Any:
    """An array in a context, as MXNet's; bool, which MXNet cannot compute with, as float32."""
    if isinstance(array, mx.nd.NDArray):
        return array.as_in_context(context)
    dtype = np.dtype(np.float32) if array.dtype.kind == "b" else array.dtype
    made = mx.nd.empty(array.shape or (1,), ctx=context, dtype=dtype)
    made._sync_copyfrom(np.ascontiguousarray(array, dtype).reshape(made.shape))
    return made


def check_samples(batch: Mapping[Any, Any] | list[Any], mode: str) -> None:
    """Refuses a batch of no samples, which MXNet's operations do not survive.

    Raises:
        SpecError: it is one.
    """
    for key, array in items_of(batch):
        if 0 in array.shape:
            raise SpecError(
                f"inputs[{key!r}] of input_fn({mode!s}) has the shape {tuple(array.shape)}.\n"
                "  Engine 'mxnet' cannot compute with nothing: leave empty batches out."
            )


def samples_of(batch: Mapping[Any, Any] | list[Any]) -> int | None:
    """The leading dimension of the first input."""
    shape = next(iter(batch.values() if isinstance(batch, Mapping) else batch)).shape
    return shape[0] if shape else None


def items_of(batch: Mapping[Any, Any] | list[Any]) -> list[tuple[Any, Any]]:
    """(position or name, array) of each input."""
    return list(batch.items() if isinstance(batch, Mapping) else enumerate(batch))
