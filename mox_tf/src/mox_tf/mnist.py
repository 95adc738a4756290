"""MNIST from its four files, as `tensorflow.examples.tutorials.mnist.input_data` read them.

    from mox_tf import mnist

    digits = mnist.read_data_sets("s3://bucket/mnist", one_hot=True)
    images, labels = digits.train.next_batch(100)

Nothing is downloaded: the address that TensorFlow 1 fetched the files from is gone.
"""

from __future__ import annotations

import os
from collections import namedtuple
from typing import Any

import numpy as np

from mox_core import file
from mox_core.data.idx import read_idx
from mox_core.errors import DataError, SpecError

__all__ = ["DataSet", "Datasets", "dense_to_one_hot", "extract_images", "extract_labels"]
__all__ += ["read_data_sets"]

Datasets = namedtuple("Datasets", ["train", "validation", "test"])

_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


class DataSet:
    """Images and labels, and batches of them in random order.

    Args:
        images: uint8 `[n, rows, columns, 1]`.
        labels: `[n]`, or `[n, classes]`.
        dtype: float32 scales images to 0 .. 1; uint8 leaves them.
        reshape: whether images become `[n, rows * columns]`.
        seed: of the order; None: another one every time.
    """

    def __init__(
        self,
        images: Any,
        labels: Any,
        fake_data: bool = False,
        one_hot: bool = False,
        dtype: Any = np.float32,
        reshape: bool = True,
        seed: int | None = None,
    ) -> None:
        dtype = np.dtype(getattr(dtype, "as_numpy_dtype", dtype))
        self._random = np.random.default_rng(seed)
        self._one_hot = one_hot
        if fake_data:
            images, labels = _fake(one_hot)
        if len(images) != len(labels):
            raise SpecError(f"MNIST: {len(images)} images, but {len(labels)} labels.")
        if reshape:
            images = images.reshape(len(images), -1)
        if dtype == np.float32:
            images = images.astype(np.float32) / np.float32(255.0)
        self._images = images
        self._labels = labels
        self._epochs_completed = 0
        self._position = 0

    @property
    def images(self) -> Any:
        """All images."""
        return self._images

    @property
    def labels(self) -> Any:
        """All labels."""
        return self._labels

    @property
    def num_examples(self) -> int:
        """How many there are."""
        return len(self._images)

    @property
    def epochs_completed(self) -> int:
        """How often `next_batch` has gone through all of them."""
        return self._epochs_completed

    def next_batch(
        self, batch_size: int, fake_data: bool = False, shuffle: bool = True
    ) -> tuple[Any, Any]:
        """Returns images and labels; a batch may reach from one epoch into the next.

        Raises:
            SpecError: batch_size is larger than the data set.
        """
        if fake_data:
            images, labels = _fake(self._one_hot)
            return images[:batch_size].reshape(batch_size, -1), labels[:batch_size]
        if batch_size > self.num_examples:
            raise SpecError(
                f"next_batch({batch_size}): this part of MNIST has {self.num_examples} images."
            )
        if self._position == 0 and self._epochs_completed == 0 and shuffle:
            self._shuffle()
        end = self._position + batch_size
        images, labels = self._images[self._position : end], self._labels[self._position : end]
        self._position = end
        if end > self.num_examples:
            self._epochs_completed += 1
            if shuffle:
                self._shuffle()
            self._position = end - self.num_examples
            images = np.concatenate([images, self._images[: self._position]])
            labels = np.concatenate([labels, self._labels[: self._position]])
        return images, labels

    def _shuffle(self) -> None:
        order = self._random.permutation(self.num_examples)
        self._images, self._labels = self._images[order], self._labels[order]


def read_data_sets(
    train_dir: str,
    fake_data: bool = False,
    one_hot: bool = False,
    dtype: Any = np.float32,
    reshape: bool = True,
    validation_size: int = 5000,
    seed: int | None = None,
    source_url: str | None = None,
) -> Any:
    """Reads MNIST.

    Args:
        train_dir: a folder, or a URL of any store that `mox.file` knows, with the four files,
            packed (`.gz`) or not.
        fake_data: makes images of its own, for tests.
        one_hot: labels `[n, 10]` instead of `[n]`.
        dtype: see `DataSet`.
        reshape: see `DataSet`.
        validation_size: so many training images become the validation set.
        seed: see `DataSet`.
        source_url: accepted, without effect.

    Returns:
        A named tuple of the DataSets train, validation and test.

    Raises:
        DataError: a file is missing or is none of MNIST's.
    """
    options: dict[str, Any] = {"dtype": dtype, "reshape": reshape, "seed": seed}
    if fake_data:
        return Datasets(
            *(DataSet([], [], fake_data=True, one_hot=one_hot, **options) for _ in range(3))
        )
    parts = {
        part: (
            extract_images(_found(train_dir, images)),
            extract_labels(_found(train_dir, labels), one_hot=one_hot),
        )
        for part, (images, labels) in _FILES.items()
    }
    images, labels = parts["train"]
    if not 0 <= validation_size <= len(images):
        raise SpecError(f"validation_size is {validation_size}; there are {len(images)} images.")
    return Datasets(
        train=DataSet(images[validation_size:], labels[validation_size:], **options),
        validation=DataSet(images[:validation_size], labels[:validation_size], **options),
        test=DataSet(*parts["test"], **options),
    )


def extract_images(f: Any) -> Any:
    """Reads a file of images: uint8 `[n, rows, columns, 1]`.

    Args:
        f: its path or URL, or an open file.

    Raises:
        DataError: it is no such file.
    """
    return read_idx(getattr(f, "name", f), 3)[..., np.newaxis]


def extract_labels(f: Any, one_hot: bool = False, num_classes: int = 10) -> Any:
    """Reads a file of labels: uint8 `[n]`, or float64 `[n, num_classes]` with `one_hot`.

    Args:
        f: its path or URL, or an open file.
        one_hot: whether labels become vectors.
        num_classes: their length.

    Raises:
        DataError: it is no such file.
    """
    labels = read_idx(getattr(f, "name", f), 1)
    return dense_to_one_hot(labels, num_classes) if one_hot else labels


def dense_to_one_hot(labels_dense: Any, num_classes: int) -> Any:
    """Turns labels `[n]` into vectors `[n, num_classes]` with a single 1."""
    return np.eye(num_classes)[labels_dense]


def _found(folder: str, name: str) -> str:
    for path in (os.path.join(folder, f"{name}.gz"), os.path.join(folder, name)):
        if file.exists(path):
            return path
    raise DataError(
        f"MNIST: there is no {name}.gz in {folder}.\n"
        "  The address that TensorFlow 1 downloaded it from is gone: put the four files there."
    )


def _fake(one_hot: bool) -> tuple[Any, Any]:
    images, labels = np.ones((10000, 28, 28, 1), np.uint8), np.zeros(10000, np.uint8)
    return images, dense_to_one_hot(labels, 10) if one_hot else labels
