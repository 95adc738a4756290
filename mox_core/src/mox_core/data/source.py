"""Source: samples by their number, which is all that a reader of any engine needs.

A source knows how many samples there are, reads some of them by number, and says which of them lie
together. In which order they are read, by how many threads, processes and ranks, how they are
decoded, augmented and batched, is decided elsewhere, once, for all sources.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mox_core.errors import DataError
from mox_core.storage import api as file
from mox_core.storage.errors import MoxFileNotExistsException
from mox_core.storage.urls import is_remote

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from mox_core.data.cache import LocalCache

__all__ = ["ArraySource", "FileSource", "Sample", "SampleError", "Source"]

Sample = dict[str, Any]
"""Feature -> value.

`image`: the bytes of an image file, or a uint8 array [height, width, channels];
`label`: an int, or an int64 array [num_classes] of zeros and ones; `label_desc`: the label's name;
`image_name`: which image it is. What else a source has, has names of its own.
"""


class SampleError(DataError):
    """A sample cannot be read or decoded. The message begins with its name."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name} {why}")
        self.name = name
        self.why = why

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self.why)


class Source(ABC):
    """Samples by their number. Safe to use from several threads, and to pickle.

    Attributes:
        features: the names of what a sample has.
        num_classes: how many classes there are; 0: not known.
        labels_to_names: label -> name; may be empty.
        channels: of the images that files are decoded to: 3 or 1.
    """

    features: tuple[str, ...] = ("image", "label")
    num_classes: int = 0
    labels_to_names: Mapping[int, str] = {}
    channels: int = 3

    @abstractmethod
    def __len__(self) -> int:
        """How many samples there are."""

    @abstractmethod
    def read(self, index: int) -> Sample:
        """Reads one sample.

        Raises:
            SampleError: this sample is damaged or gone; others may be fine.
        """

    @abstractmethod
    def name(self, index: int) -> str:
        """What a message calls a sample: a path, or a file and the number of the record."""

    @property
    def blocks(self) -> npt.NDArray[np.int64] | None:
        """How many samples lie together, block after block; None: each for itself.

        An order that keeps to the blocks reads a store of large files from front to back.
        """
        return None

    @property
    def waits(self) -> bool:
        """Whether reading waits for a network, so that more threads than cores pay."""
        return False


class FileSource(Source):
    """One file per sample.

    Args:
        folder: local path or URL that the names are relative to.
        names: of the files.
        labels: int64 [samples], or [samples, num_classes] of zeros and ones.
        labels_to_names: label -> name.
        versions: a word per file that changes with its content; needed for a cache.
        cache: keeps local copies; None: none.
    """

    features = ("image_name", "image", "label", "label_desc")

    def __init__(
        self,
        folder: str,
        names: Sequence[str],
        labels: npt.NDArray[np.int64],
        labels_to_names: Mapping[int, str],
        *,
        versions: Sequence[str] | None = None,
        cache: LocalCache | None = None,
    ) -> None:
        self.folder = folder if folder.endswith("/") else folder + "/"
        self.names = names
        self.labels = labels
        self.labels_to_names = dict(labels_to_names)
        self.num_classes = len(self.labels_to_names)
        self._versions = versions
        self._cache = cache if versions is not None else None
        self._remote = is_remote(self.folder)

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """The path or URL of the file."""
        return self.folder + self.names[index]

    def description(self, index: int) -> str:
        """The name of the sample's label; several are joined by a comma."""
        label = self.labels[index]
        if label.ndim:
            return ",".join(self.labels_to_names[int(one)] for one in label.nonzero()[0])
        return self.labels_to_names[int(label)]

    def read(self, index: int) -> Sample:
        """Reads the file."""
        label = self.labels[index]
        return {
            "image_name": self.names[index],
            "image": self.content(index),
            "label": label if label.ndim else int(label),
            "label_desc": self.description(index),
        }

    @property
    def waits(self) -> bool:
        """Whether the files are remote."""
        return self._remote

    def content(self, index: int) -> bytes:
        """The bytes of the file.

        Raises:
            SampleError: it is gone.
        """
        url = self.name(index)
        try:
            if self._cache is not None and self._versions is not None:
                return self._cache.read(
                    url, self._versions[index], lambda: file.read(url, binary=True)
                )
            if not self._remote:
                with open(url.removeprefix("file://"), "rb", buffering=0) as opened:
                    return opened.read()
            data: bytes = file.read(url, binary=True)
            return data
        except (FileNotFoundError, MoxFileNotExistsException):
            raise SampleError(url, "was in the listing of the folder, but is gone.") from None
        except (IsADirectoryError, PermissionError) as error:
            raise SampleError(url, f"cannot be read: {error.strerror or error}.") from None

    def local_paths(self) -> list[str] | None:
        """The paths of all files, when they are on this machine: for readers that open files."""
        if self._remote:
            return None
        folder = os.path.abspath(self.folder.removeprefix("file://"))
        return [os.path.join(folder, name) for name in self.names]


class ArraySource(Source):
    """Images that are in memory already, such as those of MNIST.

    Args:
        images: uint8 [samples, height, width, channels].
        labels: int64 [samples].
        labels_to_names: label -> name.
        where: the file that they come from, for messages.
    """

    def __init__(
        self,
        images: npt.NDArray[np.uint8],
        labels: npt.NDArray[np.int64],
        labels_to_names: Mapping[int, str],
        *,
        where: str,
    ) -> None:
        if len(images) != len(labels):
            raise DataError(f"{where} has {len(images)} images and {len(labels)} labels.")
        self.images = images
        self.labels = labels
        self.labels_to_names = dict(labels_to_names)
        self.num_classes = len(self.labels_to_names)
        self.channels = images.shape[3]
        self._where = where

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        """The file, and the number of the image."""
        return f"{self._where}, image {index}"

    def read(self, index: int) -> Sample:
        """Gives a view of the image."""
        return {"image": self.images[index], "label": int(self.labels[index])}
