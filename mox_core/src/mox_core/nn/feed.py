"""What a neutral input_fn returns, and how it is read: batches of NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mox_core.errors import SpecError
from mox_core.nn.tracing import InputSpec

__all__ = ["Array", "Batch", "Feed"]

Array = npt.NDArray[Any]
Batch = dict[Any, Array]
"""Position or name -> array."""


class Feed:
    """The batches of one input_fn.

    input_fn returns an iterable (a list, a generator, a data set) or a function that returns one.
    An item is a tuple, a list or a dict of arrays, or one array: a batch, or a sample to be
    batched. Arrays keep their dtype; Python numbers become float32 and int64.

    Args:
        input_fn: the user's function.
        mode: what it is called with.
        batch_size: makes batches of single samples; None when items are batches.
        keep_rest: whether fewer samples than batch_size at the end make a batch.

    Attributes:
        first: the first batch, which `take` gives, too.

    Raises:
        SpecError: input_fn returned nothing to read from, or something that is no array. Reading
            raises it too, for a batch that does not look like the first one.
    """

    def __init__(
        self,
        input_fn: Callable[..., Any],
        mode: str,
        *,
        batch_size: int | None,
        keep_rest: bool,
    ) -> None:
        self._mode = mode
        self._batch_size = batch_size
        self._keep_rest = keep_rest
        self._source = input_fn(mode)
        if not callable(self._source) and not hasattr(self._source, "__iter__"):
            got = "None (is a return missing?)" if self._source is None else repr(self._source)
            raise SpecError(
                f"input_fn returned {got} in mode {mode!s}.\n"
                "  Return an iterable of batches, such as a list or a generator."
            )
        self._keys: list[Any] = []  # those of the first item
        self._begin()
        first = next(self._batches, None)
        if first is None:
            raise SpecError(
                f"input_fn gives no batch in mode {mode!s}.\n"
                "  Check where its data come from, and that there are enough for batch_size="
                f"{batch_size}."
            )
        self.first: Batch = first
        self._specs = self.specs()
        self._ahead: list[Batch] = [first]

    def specs(self) -> dict[Any, InputSpec]:
        """What the batches look like: the first dimension is that of the batch, of any size."""
        return {
            key: InputSpec((None, *array.shape[1:]) if array.shape else (), str(array.dtype))
            for key, array in self.first.items()
        }

    def take(self, count: int) -> list[Batch]:
        """Returns the next `count` batches, fewer at the end of the data."""
        taken, self._ahead = self._ahead[:count], self._ahead[count:]
        while len(taken) < count:
            batch = next(self._batches, None)
            if batch is None:
                break
            self._check(batch)
            taken.append(batch)
        return taken

    def take_again(self) -> list[Batch]:
        """Returns one batch, beginning again at the end of data that can be read again."""
        taken = self.take(1)
        if not taken:
            self.begin_again()
            taken = self.take(1)
        return taken

    def begin_again(self) -> None:
        """Goes back to the beginning of data that can be read again; no others change."""
        if callable(self._source) or iter(self._source) is not self._source:
            self._ahead = []
            self._begin()

    def _begin(self) -> None:
        items = iter(self._source() if callable(self._source) else self._source)
        samples = (self._arrays(item, number) for number, item in enumerate(items))
        self._batches = samples if self._batch_size is None else self._batched(samples)

    def _check(self, batch: Batch) -> None:
        for key, spec in self._specs.items():
            array = batch[key]
            if array.shape[1:] != spec.shape[1:] or array.dtype != spec.dtype:
                raise SpecError(
                    f"inputs[{key!r}] of a later batch of input_fn({self._mode!s}) is "
                    f"{array.dtype} {array.shape}; the model was built for {spec.dtype} "
                    f"{spec.shape}.\n  Give all batches one dtype and the same sizes but the first."
                )

    def _arrays(self, item: Any, number: int) -> Batch:
        if isinstance(item, Mapping):
            named = dict(item)
        else:
            named = dict(enumerate(item if isinstance(item, (tuple, list)) else [item]))
        self._keys = self._keys or list(named)
        if set(named) != set(self._keys):
            raise SpecError(
                f"item {number} of input_fn({self._mode!s}) has the inputs {list(named)}, "
                f"the first one has {self._keys}.\n  Give the same inputs in every item."
            )
        return {key: self._array(named[key], key, number) for key in self._keys}

    def _array(self, value: Any, key: object, number: int) -> Array:
        try:
            array = np.asarray(value)
        except ValueError:  # rows of unequal length
            array = np.asarray(None)
        if array.dtype == object:
            raise SpecError(
                f"inputs[{key!r}] of item {number} of input_fn({self._mode!s}) is a "
                f"{type(value).__name__} that is no array.\n"
                "  Give numbers, or arrays whose rows have one length."
            )
        if array.dtype == np.float64 and isinstance(value, (float, list, tuple)):
            array = array.astype(np.float32)
        return array

    def _batched(self, samples: Iterator[Batch]) -> Iterator[Batch]:
        assert self._batch_size is not None
        rows: list[Batch] = []
        for sample in samples:
            rows.append(sample)
            if len(rows) == self._batch_size:
                yield self._stack(rows)
                rows = []
        if rows and self._keep_rest:
            yield self._stack(rows)

    def _stack(self, rows: list[Batch]) -> Batch:
        shapes = [{key: array.shape for key, array in row.items()} for row in rows]
        different = next((shape for shape in shapes if shape != shapes[0]), None)
        if different is not None:
            raise SpecError(
                f"samples of input_fn({self._mode!s}) differ: {shapes[0]} and {different}.\n"
                "  Give all samples the same shapes, or batch them in input_fn."
            )
        return {key: np.stack([row[key] for row in rows]) for key in rows[0]}
