"""Data sets by name: `get_dataset`, and what a plugin in the group `mox.datasets` provides."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mox_core.data.dataset import ImageDataset, make_cache
from mox_core.data.listing import folder_path
from mox_core.data.metadata import BaseTFRecordMetadata, ImageClassificationTFRecordMetadata
from mox_core.data.source import Source
from mox_core.errors import DataError
from mox_core.plugins import get_manager

if TYPE_CHECKING:
    from mox_core.data.cache import LocalCache

__all__ = [
    "DatasetMeta",
    "DatasetProvider",
    "TFRecordProvider",
    "get_dataset",
    "get_dataset_meta",
    "get_source",
]


@dataclass(frozen=True)
class DatasetMeta:
    """What is known of a data set before anybody has its files.

    Args:
        name: its entry point's.
        num_classes: how many classes there are.
        splits_to_sizes: split -> number of samples; the one to train with comes first.
        labels_to_names: label -> name; may be empty.
        items_to_descriptions: feature -> what it is, in words.
    """

    name: str
    num_classes: int
    splits_to_sizes: Mapping[str, int]
    labels_to_names: Mapping[int, str] = field(default_factory=dict)
    items_to_descriptions: Mapping[str, str] = field(
        default_factory=lambda: {"image": "uint8 RGB image", "label": "number of the class"}
    )


class DatasetProvider(ABC):
    """A data set that has a name: what the hook `mox_dataset` returns.

    `mox_core.testing.DatasetSuite` tests one.

    Attributes:
        meta: what is known of it.
    """

    meta: DatasetMeta

    @abstractmethod
    def source(
        self, split_name: str, dataset_dir: str, *, cache: LocalCache | None = None
    ) -> Source:
        """The samples of a split.

        Args:
            split_name: one of `meta.splits_to_sizes`.
            dataset_dir: where the files are, a local path or a URL.
            cache: keeps local copies; may be left alone.

        Raises:
            DataError: the files are not there, or damaged.
        """


class TFRecordProvider(DatasetProvider):
    """A data set in TFRecord files, named as TF-slim names them.

    Args:
        meta: what is known of it.
        pattern: of the files of a split, with `%s` for the split's name.
        channels: of the images.
    """

    def __init__(self, meta: DatasetMeta, pattern: str, *, channels: int = 3) -> None:
        self.meta = meta
        self.pattern = pattern
        self.channels = channels

    def metadata(self, split_name: str, dataset_dir: str) -> BaseTFRecordMetadata:
        """The TFRecord files of a split."""
        metadata = ImageClassificationTFRecordMetadata(
            dataset_dir, self.pattern % split_name, num_classes=self.meta.num_classes
        )
        metadata.labels_to_names = metadata.labels_to_names or self.meta.labels_to_names
        return metadata

    def source(
        self, split_name: str, dataset_dir: str, *, cache: LocalCache | None = None
    ) -> Source:
        """The records of a split."""
        return self.metadata(split_name, dataset_dir).source(cache, channels=self.channels)


def _provider(name: str) -> DatasetProvider:
    provider = get_manager().select("dataset", name)
    if not isinstance(provider, DatasetProvider):
        raise DataError(
            f"the plugin of data set {name!r} gave a {type(provider).__name__}.\n"
            "  Its author must return a mox_core.data.DatasetProvider."
        )
    return provider


def get_dataset_meta(name: str) -> DatasetMeta:
    """Returns what is known of a data set (manual 001, section 1.3.5.1).

        meta = mox.get_dataset_meta("mnist")
        train, test = meta.splits_to_sizes

    Args:
        name: `mnist`, `cifar10`, `cifar100`, `flowers`, `imagenet`, or a plugin's.

    Raises:
        PluginError: there is no such data set.
    """
    return _provider(name).meta


def get_source(
    name: str,
    split_name: str,
    dataset_dir: str | os.PathLike[str],
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    remove_cache_on_finish: bool = True,
) -> Source:
    """Returns the samples of a split, for readers of an engine's own; see `get_dataset`."""
    provider = _provider(name)
    if split_name not in provider.meta.splits_to_sizes:
        raise DataError(
            f"data set {name!r} has no split {split_name!r}; it has "
            f"{', '.join(provider.meta.splits_to_sizes)}."
        )
    folder = folder_path(dataset_dir, "dataset_dir")
    cache = make_cache(cache_dir, folder, remove=remove_cache_on_finish)
    return provider.source(split_name, folder, cache=cache)


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
    """Returns a data set by its name (manual 001, section 1.3.5.1).

        dataset = mox.get_dataset("mnist", "train", "s3://bucket/mnist", capacity=4000)
        return dataset.get(["image", "label"])

    Reads the layouts of TF-slim (`mnist_train.tfrecord`, `cifar10_train.tfrecord`,
    `flowers_train_*.tfrecord`, `train-*`); of MNIST and CIFAR also the original files. Nothing is
    downloaded.

    Args:
        name: `mnist`, `cifar10`, `cifar100`, `flowers`, `imagenet`, or a plugin's.
        split_name: one of `get_dataset_meta(name).splits_to_sizes`.
        dataset_dir: where the files are, a local path or a URL.
        batch_size: samples per batch; None: single samples.
        cache_dir: local folder that keeps copies of remote files; `ENV`: what DLS_LOCAL_CACHE_PATH
            says.
        remove_cache_on_finish: remove the copies when the last process that uses them ends.
        **options: arguments of `mox_core.data.ImageDataset`: num_epochs, shuffle, capacity,
            image_size, augmentation_fn, ...

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
    return ImageDataset(source, batch_size, **options)
