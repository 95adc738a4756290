"""Data sets for MXNet: the sources and the order of mox_core.data in a gluon DataLoader."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mox_core import data as core
from mox_core._opencv import in_threads
from mox_core.data.mapped import Mapped
from mox_core.data.reading import cores
from mox_mxnet.importing import load

__all__ = [
    "ImageClassificationRawDataset",
    "ImageClassificationTFRecordDataset",
    "ImageDataset",
    "MultilabelClassificationRawDataset",
    "get_dataset",
]

mx = load()


class _InGluon(core.ImageDataset):
    """Gives a gluon DataLoader in place of mox_core's own reader."""

    def get(self, keys: Sequence[str]) -> Any:
        """Returns a gluon DataLoader over batches (or samples) of these features.

        Args:
            keys: as for `mox_core.data.ImageDataset.get`.

        Returns:
            A `mx.gluon.data.DataLoader` of lists of arrays of MXNet, in the order of the keys;
            texts come as lists. Threads read and decode. With preprocess_fn or reader_class,
            mox_core's own reader gives NumPy arrays, which `mox.run` takes as well.
        """
        keys = [keys] if isinstance(keys, str) else list(keys)
        if self.preprocess_fn is not None or self.reader_class is not None:
            return super().get(keys)
        return _Loader(Mapped(self, keys, convert=_plain), self._loader_threads())

    def _loader_threads(self) -> int:
        if self.private_num_threads > 0:
            return self.private_num_threads
        return max(self.num_readers, cores()) if self.source.waits else cores() + 1


class _Loader(mx.gluon.data.DataLoader):
    """A DataLoader that stops at bad samples by their names, or leaves them out and counts them."""

    def __init__(self, pieces: Mapped, threads: int) -> None:
        super().__init__(
            pieces.samples,
            batch_sampler=pieces.batches,
            batchify_fn=pieces.collate,
            num_workers=threads,
            thread_pool=True,
            timeout=24 * 3600,  # a slow store is no error
        )
        self._pieces = pieces

    def __iter__(self) -> Iterator[list[Any]]:
        with in_threads():
            for batch in self._pieces.good(super().__iter__()):
                yield [_array(column) for column in batch]


def _plain(value: Any) -> Any:
    texts = isinstance(value, np.ndarray) and value.dtype.kind == "O"
    return value.tolist() if texts else value


def _array(value: Any) -> Any:
    if isinstance(value, (bytes, str, list)):
        return value
    value = np.asarray(value)
    return mx.nd.array(value, dtype=value.dtype)


class ImageDataset(_InGluon):
    """Batches of any source; see `mox_core.data.ImageDataset`."""


class ImageClassificationRawDataset(_InGluon, core.ImageClassificationRawDataset):
    """See `mox_core.data.ImageClassificationRawDataset`."""


class ImageClassificationTFRecordDataset(_InGluon, core.ImageClassificationTFRecordDataset):
    """See `mox_core.data.ImageClassificationTFRecordDataset`."""


class MultilabelClassificationRawDataset(_InGluon, core.MultilabelClassificationRawDataset):
    """See `mox_core.data.MultilabelClassificationRawDataset`."""


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
    """Returns a data set by its name, for MXNet; see `mox_core.get_dataset`."""
    source = core.get_source(
        name,
        split_name,
        dataset_dir,
        cache_dir=cache_dir,
        remove_cache_on_finish=remove_cache_on_finish,
    )
    return ImageDataset(source, batch_size, **options)
