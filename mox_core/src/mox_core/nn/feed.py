"""What a neutral input_fn returns, and how it is read: batches of NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mox_core.batches import BatchReader
from mox_core.errors import SpecError
from mox_core.nn.tracing import InputSpec
from mox_core.wording import a_type

__all__ = ["Array", "Batch", "Feed"]

Array = npt.NDArray[Any]
Batch = dict[Any, Array]
"""Position or name -> array."""


class Feed(BatchReader[Batch]):
    """The batches of one input_fn; see `BatchReader` for what that returns.

    Arrays keep their dtype; Python numbers become float32 and int64.

    Raises:
        SpecError: input_fn returned nothing to read from, or something that is no array. Reading
            raises it too, for a batch that does not look like the first one.
    """

    _keys: Sequence[Any] = ()  # those of the first item
    _looks: Mapping[Any, InputSpec] | None = None  # those of the first batch

    def specs(self) -> dict[Any, InputSpec]:
        """What the batches look like: the first dimension is that of the batch, of any size."""
        return _specs_of(self.first)

    def _converted(self, item: Any, number: int) -> Batch:
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

    def _placed(self, batch: Batch) -> Batch:
        if self._looks is None:
            self._looks = _specs_of(batch)
        for key, spec in self._looks.items():
            array = batch[key]
            if array.shape[1:] != spec.shape[1:] or str(array.dtype) != spec.dtype:
                raise SpecError(
                    f"inputs[{key!r}] of a later batch of input_fn({self._mode!s}) is "
                    f"{array.dtype} {array.shape}; the model was built for {spec.dtype} "
                    f"{spec.shape}.\n  Give all batches one dtype and the same sizes but the first."
                )
        return batch

    def _array(self, value: Any, key: object, number: int) -> Array:
        try:
            array = np.asarray(value)
        except ValueError:  # rows of unequal length
            array = np.asarray(None)
        if array.dtype == object:
            raise SpecError(
                f"inputs[{key!r}] of item {number} of input_fn({self._mode!s}) is "
                f"{a_type(value)} that is no array.\n"
                "  Give numbers, or arrays whose rows have one length."
            )
        if array.dtype == np.float64 and isinstance(value, (float, list, tuple)):
            array = array.astype(np.float32)
        return array

    def _stacked(self, samples: list[Batch]) -> Batch:
        return {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}


def _specs_of(batch: Batch) -> dict[Any, InputSpec]:
    return {
        key: InputSpec((None, *array.shape[1:]) if array.shape else (), str(array.dtype))
        for key, array in batch.items()
    }
