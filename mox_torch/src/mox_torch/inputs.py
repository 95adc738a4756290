"""How the engine reads what input_fn returns."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from mox_core.errors import SpecError

__all__ = ["Batch", "Feed", "samples_of", "type_name"]

Batch = list[torch.Tensor] | dict[str, torch.Tensor]
"""What model_fn gets."""


class Feed:
    """The batches of one input_fn, on the run's device.

    input_fn returns an iterable (a DataLoader, a Dataset, a list, a generator) or a function that
    returns one. An item is a tuple, a list or a dict of tensors or arrays, or one of them: a batch,
    or a sample to be batched.

    Args:
        input_fn: the user's function.
        mode: what it is called with.
        device: where the batches go.
        batch_size: makes batches of single samples; None when items are batches.
        keep_rest: whether fewer samples than batch_size at the end make a batch.
        channels_last: puts tensors of four axes into this memory format.

    Raises:
        SpecError: input_fn returned nothing to read from, or no batch.
    """

    def __init__(
        self,
        input_fn: Callable[..., Any],
        mode: str,
        *,
        device: torch.device,
        batch_size: int | None,
        keep_rest: bool,
        channels_last: bool = False,
    ) -> None:
        self._mode = mode
        self._device = device
        self._batch_size = batch_size
        self._keep_rest = keep_rest
        self._channels_last = channels_last
        source: Any = input_fn(mode)
        self._source = source
        readable = ("__iter__", "__getitem__", "__call__")
        if not any(hasattr(source, name) for name in readable):
            got = "None (is a return missing?)" if source is None else repr(source)
            raise SpecError(
                f"input_fn returned {got} in mode {mode!s}.\n"
                "  Return an iterable of batches, such as a DataLoader, a list or a generator."
            )
        self._batches: Iterator[Batch] = iter(())
        self._begin()
        first = next(self._batches, None)
        if first is None:
            raise SpecError(
                f"input_fn gives no batch in mode {mode!s}.\n"
                "  Check where its data come from, and that there are enough for batch_size="
                f"{batch_size}."
            )
        self.first: Batch = first
        self._ahead: list[Batch] = [first]

    def take(self, count: int) -> list[Batch]:
        """Returns the next `count` batches, fewer at the end of the data."""
        taken, self._ahead = self._ahead[:count], self._ahead[count:]
        while len(taken) < count:
            batch = next(self._batches, None)
            if batch is None:
                break
            taken.append(batch)
        return taken

    def take_again(self) -> list[Batch]:
        """Returns one batch, beginning again at the end of data that can be read again."""
        taken = self.take(1)
        if not taken and (callable(self._source) or iter(self._source) is not self._source):
            self._begin()
            taken = self.take(1)
        return taken

    def close(self) -> None:
        """Lets go of the data, so that a DataLoader ends its workers."""
        self._batches = iter(())
        self._source, self._ahead = (), []

    def _begin(self) -> None:
        items = iter(self._source() if callable(self._source) else self._source)
        read = self._read if self._batch_size is None else self._batched
        self._batches = read(items)

    def _read(self, items: Iterator[Any]) -> Iterator[Batch]:
        return (self._placed(_tensors(item, n, self._mode)) for n, item in enumerate(items))

    def _placed(self, batch: Batch) -> Batch:
        if self._device.type == "cpu" and not self._channels_last:
            return batch
        if isinstance(batch, dict):
            return {key: self._place(tensor) for key, tensor in batch.items()}
        return [self._place(tensor) for tensor in batch]

    def _place(self, tensor: torch.Tensor) -> torch.Tensor:
        if self._channels_last and tensor.dim() == 4:
            return tensor.to(self._device, non_blocking=True, memory_format=torch.channels_last)
        return tensor.to(self._device, non_blocking=True)

    def _batched(self, items: Iterator[Any]) -> Iterator[Batch]:
        rows: list[Batch] = []
        for number, item in enumerate(items):
            rows.append(_tensors(item, number, self._mode))
            if len(rows) == self._batch_size:
                yield self._placed(self._stack(rows))
                rows = []
        if rows and self._keep_rest:
            yield self._placed(self._stack(rows))

    def _stack(self, rows: list[Batch]) -> Batch:
        shapes = [_shapes(row) for row in rows]
        different = next((shape for shape in shapes if shape != shapes[0]), None)
        if different is not None:
            raise SpecError(
                f"samples of input_fn({self._mode!s}) differ: {shapes[0]} and {different}.\n"
                "  Give all samples the same shapes, or batch them in input_fn."
            )
        if isinstance(rows[0], dict):
            return {key: torch.stack([row[key] for row in rows]) for key in rows[0]}  # type: ignore[call-overload]
        return [torch.stack([row[i] for row in rows]) for i in range(len(rows[0]))]  # type: ignore[index]


def _tensors(item: Any, number: int, mode: str) -> Batch:
    if isinstance(item, Mapping):
        return {key: _tensor(value, key, number, mode) for key, value in item.items()}
    if isinstance(item, (tuple, list)):
        return [_tensor(value, key, number, mode) for key, value in enumerate(item)]
    return [_tensor(item, 0, number, mode)]


def _tensor(value: Any, key: object, number: int, mode: str) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        return value
    if isinstance(value, (np.ndarray, np.generic, int, float, bool, list, tuple)):
        try:
            array = np.asarray(value)
            if array.dtype == np.float64 and not isinstance(value, (np.ndarray, np.generic)):
                array = array.astype(np.float32)  # Python's numbers have no dtype of their own
            with warnings.catch_warnings():
                # Steps only read: an array that must not be written is as good as any.
                warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
                return torch.as_tensor(array)
        except (TypeError, ValueError):  # strings, objects, rows of unequal length
            pass
    raise SpecError(
        f"inputs[{key!r}] of item {number} of input_fn({mode!s}) is a {type_name(value)}.\n"
        "  Engine 'torch' takes torch tensors and NumPy arrays of numbers."
    )


def samples_of(batch: Batch) -> int | None:
    """The leading dimension of the first input."""
    shape = next(iter(batch.values() if isinstance(batch, dict) else batch)).shape
    return shape[0] if shape else None


def type_name(value: object) -> str:
    """The type of a value as an error message names it, with its framework."""
    kind = type(value)
    root = kind.__module__.partition(".")[0]
    return kind.__name__ if root == "builtins" else f"{root} {kind.__name__}"


def _shapes(batch: Batch) -> dict[Any, tuple[int, ...]]:
    items = batch.items() if isinstance(batch, dict) else enumerate(batch)
    return {key: tuple(tensor.shape) for key, tensor in items}
