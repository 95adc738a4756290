"""Reads MNIST, or any data set in its format, into NumPy arrays.

Stands in for `tensorflow.examples.tutorials.mnist.input_data`, which TensorFlow no longer has:

    import mnist_data

    mnist = mnist_data.read_data_sets("/data/mnist", one_hot=True)
    images, labels = mnist.train.next_batch(100)

Without a folder it reads the digits that ship with the examples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mox_core.data.idx import read_idx
from mox_core.errors import DataError

DIGITS = str(Path(__file__).parent / "data" / "digits")
NUM_CLASSES = 10


class DataSet:
    """Images and labels, in batches.

    Attributes:
        images: float32 of shape [num_examples, pixels], 0 (background) to 1.
        labels: int64 of shape [num_examples], or float32 [num_examples, 10] when one-hot.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, *, seed: int) -> None:
        self.images = images
        self.labels = labels
        self._rng = np.random.default_rng(seed)
        self._order = np.empty(0, np.int64)

    @property
    def num_examples(self) -> int:
        """How many images there are."""
        return len(self.images)

    def num_batches(self, batch_size: int) -> int:
        """How many batches show every sample once; after so many steps an epoch is evaluated."""
        return math.ceil(self.num_examples / batch_size)

    def next_batch(self, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the next images and labels of an endless stream, shuffled anew in each epoch."""
        while len(self._order) < batch_size:
            self._order = np.append(self._order, self._rng.permutation(self.num_examples))
        chosen, self._order = self._order[:batch_size], self._order[batch_size:]
        return self.images[chosen], self.labels[chosen]

    def batches(self, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields every image once, in order; the last batch may be smaller."""
        for start in range(0, self.num_examples, batch_size):
            yield (
                self.images[start : start + batch_size],
                self.labels[start : start + batch_size],
            )


@dataclass(frozen=True)
class DataSets:
    """The two parts of a data set."""

    train: DataSet
    test: DataSet


def read_data_sets(folder: str = DIGITS, one_hot: bool = False, *, seed: int = 0) -> DataSets:
    """Reads MNIST's four files, gzipped or not.

    Args:
        folder: where they are.
        one_hot: labels as rows of ten numbers, of which one is 1.
        seed: decides the order of `next_batch`.

    Raises:
        DataError: a file is missing or is not what its name says.
    """
    try:
        return DataSets(
            train=_read_part(folder, "train", one_hot=one_hot, seed=seed),
            test=_read_part(folder, "t10k", one_hot=one_hot, seed=seed),
        )
    except DataError as error:
        raise error.with_traceback(None) from None  # the message says it all


def _read_part(folder: str, prefix: str, *, one_hot: bool, seed: int) -> DataSet:
    images = read_idx(_find(folder, f"{prefix}-images-idx3-ubyte"), 3)
    labels_path = _find(folder, f"{prefix}-labels-idx1-ubyte")
    labels = read_idx(labels_path, 1)
    if len(images) != len(labels):
        raise DataError(f"{labels_path} has {len(labels)} labels for {len(images)} images.")
    if labels.size and labels.max() >= NUM_CLASSES:
        raise DataError(f"{labels_path} has a label {labels.max()}; digits go from 0 to 9.")
    pixels = images.reshape(len(images), -1).astype(np.float32) / 255
    classes = np.eye(NUM_CLASSES, dtype=np.float32)[labels] if one_hot else labels.astype(np.int64)
    return DataSet(pixels, classes, seed=seed)


def _find(folder: str, name: str) -> str:
    for path in (Path(folder, name + ".gz"), Path(folder, name)):
        if path.is_file():
            return str(path)
    raise DataError(
        f"{folder} has no {name}.gz (or {name}).\n"
        "  Give a folder with MNIST's four files, or leave it out for the digits that ship with "
        "the examples."
    )
