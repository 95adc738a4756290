"""get_dataset: data sets by their names, as graph tensors."""

from __future__ import annotations

import os
from typing import Any

from mox_core.data import ImageDataset, TFRecordSource
from mox_core.data.provider import get_source
from mox_tf.datasets.image_tensors import ImageTensors
from mox_tf.datasets.tfrecord_common import ImageRecordTensors

__all__ = ["get_dataset"]


class _Images(ImageTensors, ImageDataset):
    """A data set of images in files or in memory."""


class _Records(ImageRecordTensors, ImageDataset):
    """A data set of images in TFRecord files."""


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
    """Returns a data set by its name, whose `get` gives graph tensors (manual 001, 1.3.5.1).

        dataset = mox.get_dataset("mnist", "train", "s3://bucket/mnist", capacity=4000)
        image, label = dataset.get(["image", "label"])

    See `mox_core.get_dataset` for the arguments.

    Raises:
        PluginError: there is no such data set.
        DataError: there is no such split, or its files are not there or damaged.
    """
    source = get_source(
        name,
        split_name,
        dataset_dir,
        cache_dir=cache_dir,
        remove_cache_on_finish=remove_cache_on_finish,
    )
    kind = _Records if isinstance(source, TFRecordSource) else _Images
    return kind(source, batch_size, **options)
