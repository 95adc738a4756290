"""Data sets for PyTorch: the sources, order and preparation of mox_core.data in a DataLoader."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from mox_core import data as core
from mox_core.data.mapped import SINGLE_TOGETHER, Mapped
from mox_core.data.reading import cores
from mox_core.errors import DataError
from mox_torch import dist

__all__ = [
    "ImageClassificationRawDataset",
    "ImageClassificationTFRecordDataset",
    "ImageDataset",
    "MultilabelClassificationRawDataset",
    "get_dataset",
]

_FEW_CORES = 8
"""Up to so many, threads of one process decode as fast as processes, and send nothing around."""


class _InTorch(core.ImageDataset):
    """Gives a DataLoader in place of mox_core's own reader.

    Attributes:
        loader_options: further arguments of `torch.utils.data.DataLoader`.
    """

    def __init__(
        self, *args: Any, loader_options: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.loader_options = dict(loader_options or {})
        unknown = {"batch_size", "sampler", "batch_sampler", "shuffle", "collate_fn", "dataset"}
        if taken := sorted(unknown & set(self.loader_options)):
            raise DataError(f"loader_options cannot have {taken[0]}: the data set decides it.")

    def _usual(self) -> core.Shard:
        return core.Shard(dist.rank(), dist.world_size())

    def get(self, keys: Sequence[str]) -> DataLoader[Any]:
        """Returns a DataLoader over batches (or samples) of these features.

        Args:
            keys: as for `mox_core.data.ImageDataset.get`.

        Returns:
            A DataLoader of lists of tensors, in the order of the keys; texts come as lists. Images
            are as augmentation_fn returned them, else uint8 [batch, height, width, channels].
            With more than 8 cores the loader has processes, num_readers at most; else threads do
            the work. `loader_options={"num_workers": ...}` decides otherwise.
        """
        keys = [keys] if isinstance(keys, str) else list(keys)
        options = self.loader_options
        workers = options.get("num_workers")
        if workers is None:
            workers = min(self.num_readers, cores()) if cores() > _FEW_CORES else 0
        if self.preprocess_fn is not None or self.reader_class is not None or not workers:
            options = options | {"num_workers": 0}
            return DataLoader(_Stream(super().get(keys)), batch_size=None, **options)
        return _Loader(self, keys, options | {"num_workers": workers})


class _Stream(IterableDataset[Any]):
    """Batches that mox_core's readers make, as tensors."""

    def __init__(self, batches: Any) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[list[Any]]:
        return ([_tensor(column) for column in batch] for batch in self._batches)

    def __len__(self) -> int:
        return len(self._batches)


class _Loader(DataLoader[Any]):
    """A DataLoader that stops at bad samples by their names, or leaves them out and counts them."""

    def __init__(self, dataset: _InTorch, keys: Sequence[str], options: dict[str, Any]) -> None:
        workers = options["num_workers"]
        threads = -(-dataset.num_readers // workers) if dataset.source.waits else 0
        pieces = Mapped(dataset, keys, convert=_tensor, threads=threads)
        batches_ahead = -(-dataset.capacity // (dataset.batch_size or SINGLE_TOGETHER))
        options.setdefault("prefetch_factor", max(2, -(-batches_ahead // workers)))
        options.setdefault("worker_init_fn", _start_worker)
        super().__init__(
            pieces.samples,  # type: ignore[arg-type]
            batch_sampler=pieces.batches,
            collate_fn=pieces.collate,
            **options,
        )
        self._pieces = pieces

    def __iter__(self) -> Any:
        return self._pieces.good(super().__iter__())


def _tensor(value: Any) -> Any:
    if isinstance(value, (bytes, str, list)):
        return value
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            return value.tolist()
        return torch.from_numpy(value if value.flags.writeable else value.copy())
    return torch.as_tensor(value)


def _start_worker(number: int) -> None:
    try:
        import cv2
    except ImportError:
        return
    cv2.setNumThreads(0)  # its own threads did not survive the fork


class ImageDataset(_InTorch):
    """Batches of any source; see `mox_core.data.ImageDataset`.

    Takes `loader_options` besides: further arguments of `torch.utils.data.DataLoader`.
    """


class ImageClassificationRawDataset(_InTorch, core.ImageClassificationRawDataset):
    """See `mox_core.data.ImageClassificationRawDataset`.

    Takes `loader_options` besides: further arguments of `torch.utils.data.DataLoader`.
    """


class ImageClassificationTFRecordDataset(_InTorch, core.ImageClassificationTFRecordDataset):
    """See `mox_core.data.ImageClassificationTFRecordDataset`.

    Takes `loader_options` besides: further arguments of `torch.utils.data.DataLoader`.
    """


class MultilabelClassificationRawDataset(_InTorch, core.MultilabelClassificationRawDataset):
    """See `mox_core.data.MultilabelClassificationRawDataset`.

    Takes `loader_options` besides: further arguments of `torch.utils.data.DataLoader`.
    """


def get_dataset(
    name: str,
    split_name: str,
    dataset_dir: str | os.PathLike[str],
    batch_size: int | None = None,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    remove_cache_on_finish: bool = True,
    **options: Any,
) -> ImageDataset:
    """Returns a data set by its name, for PyTorch; see `mox_core.get_dataset`."""
    source = core.get_source(
        name,
        split_name,
        dataset_dir,
        cache_dir=cache_dir,
        remove_cache_on_finish=remove_cache_on_finish,
    )
    return ImageDataset(source, batch_size, **options)
