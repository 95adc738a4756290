"""How the engine reads what input_fn returns."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from mox_core.batches import BatchReader
from mox_core.errors import SpecError
from mox_core.wording import a_type

__all__ = ["Batch", "Feed", "samples_of"]

Batch = list[torch.Tensor] | dict[str, torch.Tensor]
"""What model_fn gets."""


class Feed(BatchReader[Batch]):
    """The batches of one input_fn, on the run's device; see `BatchReader` for what that returns.

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
        self._device = device
        self._channels_last = channels_last
        self._stays = device.type == "cpu" and not channels_last
        super().__init__(input_fn, mode, batch_size=batch_size, keep_rest=keep_rest)

    def _converted(self, item: Any, number: int) -> Batch:
        if isinstance(item, (tuple, list)):
            batch = list(item)
            for key, one in enumerate(batch):  # most are tensors, and then there is little to do
                if not isinstance(one, torch.Tensor):
                    batch[key] = _tensor(one, key, number, self._mode)
            return batch
        if isinstance(item, Mapping):
            return {key: _tensor(value, key, number, self._mode) for key, value in item.items()}
        return [_tensor(item, 0, number, self._mode)]

    def _stacked(self, samples: list[Batch]) -> Batch:
        if isinstance(samples[0], dict):
            return {key: torch.stack([one[key] for one in samples]) for key in samples[0]}  # type: ignore[call-overload]
        return [torch.stack([one[i] for one in samples]) for i in range(len(samples[0]))]  # type: ignore[index]

    def _placed(self, batch: Batch) -> Batch:
        if self._stays:
            return batch
        if isinstance(batch, dict):
            return {key: self._place(tensor) for key, tensor in batch.items()}
        return [self._place(tensor) for tensor in batch]

    def _place(self, tensor: torch.Tensor) -> torch.Tensor:
        if self._channels_last and tensor.dim() == 4:
            return tensor.to(self._device, non_blocking=True, memory_format=torch.channels_last)
        return tensor.to(self._device, non_blocking=True)


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
        f"inputs[{key!r}] of item {number} of input_fn({mode!s}) is {a_type(value)}.\n"
        "  Engine 'torch' takes torch tensors and NumPy arrays of numbers."
    )


def samples_of(batch: Batch) -> int | None:
    """The leading dimension of the first input."""
    shape = next(iter(batch.values() if isinstance(batch, dict) else batch)).shape
    return shape[0] if shape else None
