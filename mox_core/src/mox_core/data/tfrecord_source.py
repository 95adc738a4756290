"""TFRecord files as a source: records by their number, read block by block where that pays."""

from __future__ import annotations

import copy
import logging
import os
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from mox_core.crc32c import is_fast
from mox_core.data.example import parse_example
from mox_core.data.source import Sample, SampleError, Source
from mox_core.data.tfrecord import FOOTER, HEADER, checked_data
from mox_core.errors import DataError
from mox_core.storage import transfer
from mox_core.storage.errors import MoxFileNotExistsException
from mox_core.storage.urls import is_remote, locate

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from mox_core.data.cache import LocalCache
    from mox_core.data.record_index import FileIndex

__all__ = ["ImageExample", "TFRecordSource", "missing_feature"]

LOG = logging.getLogger("mox")

_BLOCK = 4 << 20
"""Bytes that are read at a time from a remote store."""

_AHEAD = 1 << 30
"""Bytes of records that are kept until somebody asks for them, at most."""


def missing_feature(features: Mapping[str, Any], key: str) -> DataError:
    """The error for a feature that a record does not have."""
    has = ", ".join(sorted(features)) or "none"
    return DataError(f"has no feature {key!r}; its features are: {has}.")


class ImageExample:
    """Reads the features of TF-slim's image classification data sets out of a tf.Example.

    Args:
        image_key: of the feature with the image file.
        label_key: of the feature with the label.
        labels_to_names: label -> name, where records do not say it.
        more: name -> key of further features, which come as they are.
    """

    def __init__(
        self,
        labels_to_names: Mapping[int, str],
        *,
        image_key: str = "image/encoded",
        label_key: str = "image/class/label",
        more: Mapping[str, str] | None = None,
    ) -> None:
        self._names = labels_to_names
        self._image_key = image_key
        self._label_key = label_key
        self._more = dict(more or {})
        self.features = ("image", "label", "label_desc", *self._more)

    def __call__(self, data: bytes) -> Sample:
        """Parses one record.

        Raises:
            DataError: it is no tf.Example, or lacks a feature.
        """
        features = parse_example(data)
        image = self._one(features, self._image_key, bytes)
        if features.get("image/format") == [b"raw"]:
            image = self._raw(features, image)
        label = int(self._one(features, self._label_key, int))
        text = features.get("image/class/text")
        name = text[0].decode() if text else self._names.get(label, "")
        sample: Sample = {"image": image, "label": label, "label_desc": name}
        for key, feature in self._more.items():
            if feature not in features:
                raise missing_feature(features, feature)
            sample[key] = features[feature]
        return sample

    def _one(self, features: Mapping[str, Any], key: str, kind: type) -> Any:
        values = features.get(key)
        if values is None or not len(values):
            raise missing_feature(features, key)
        value = values[0]
        if isinstance(value, bytes) != (kind is bytes):
            is_a = "text" if isinstance(value, bytes) else "a number"
            raise DataError(f"has a feature {key!r} that is {is_a}.")
        return value

    def _raw(self, features: Mapping[str, Any], image: bytes) -> Any:
        import numpy as np

        height = int(self._one(features, "image/height", int))
        width = int(self._one(features, "image/width", int))
        pixels = np.frombuffer(image, np.uint8)
        if pixels.size not in (height * width, height * width * 3):
            raise DataError(f"has {pixels.size} bytes of pixels for {height} x {width}.")
        return pixels.reshape(height, width, -1)


class TFRecordSource(Source):
    """The records of TFRecord files.

    Local files are read record by record. Of remote files, blocks of about 4 MiB are read, and what
    is not asked for at once waits in memory, or in the cache.

    Args:
        urls: the files.
        index: their records.
        parse: data of a record -> Sample; raises DataError. None: `ImageExample`.
        versions: a word per file that changes with its content; needed for a cache.
        labels_to_names: label -> name.
        num_classes: how many classes there are; 0: not known.
        verify: whether to compare the checksums of the data.
        cache: keeps local copies of blocks; None: none.
        channels: of the images that files are decoded to.
    """

    def __init__(
        self,
        urls: Sequence[str],
        index: Sequence[FileIndex],
        *,
        parse: Callable[[bytes], Sample] | None = None,
        versions: Sequence[str] | None = None,
        labels_to_names: Mapping[int, str] | None = None,
        num_classes: int = 0,
        verify: bool = True,
        cache: LocalCache | None = None,
        channels: int = 3,
    ) -> None:
        import numpy as np

        self.urls = list(urls)
        self.index = list(index)
        self.labels_to_names = dict(labels_to_names or {})
        self.num_classes = num_classes
        self.channels = channels
        self._parse = parse or ImageExample(self.labels_to_names)
        self.features = getattr(self._parse, "features", Source.features)
        self._verify = verify
        if verify:
            _hint_at_crc32c()
        self._cache = cache if versions is not None else None
        self._versions = versions
        self._paths = [None if is_remote(url) else locate(url).path for url in self.urls]
        counts = np.array([one.count for one in index])
        # The number of the first record of each file; a list, of which bisect is the fastest way.
        self._firsts: list[int] = (np.cumsum(counts) - counts).tolist()
        self._total = int(counts.sum())
        self._offsets = np.concatenate([one.offsets for one in index])
        self._lengths = np.concatenate([one.lengths for one in index]) + HEADER + FOOTER
        self._blocks = self._cut()
        self._block_starts = np.cumsum(self._blocks) - self._blocks
        self._begin()

    def with_parse(self, parse: Callable[[bytes], Sample]) -> TFRecordSource:
        """The same records, parsed in another way."""
        other = copy.copy(self)
        other._parse = parse
        other.features = getattr(parse, "features", Source.features)
        other._begin()
        return other

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._loading: dict[int, threading.Lock] = {}
        self._waiting: OrderedDict[int, bytes] = OrderedDict()
        self._waiting_bytes = 0

    def __getstate__(self) -> dict[str, Any]:
        lost = {"_lock", "_loading", "_waiting", "_waiting_bytes"}
        return {key: value for key, value in self.__dict__.items() if key not in lost}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def _cut(self) -> npt.NDArray[np.int64]:
        """How many records each block has; none reaches over the end of a file."""
        import numpy as np

        blocks: list[npt.NDArray[np.int64]] = []
        for first, one in zip(self._firsts, self.index, strict=True):
            if one.count:
                numbers = self._offsets[first : first + one.count] // _BLOCK
                blocks.append(np.unique(numbers, return_counts=True)[1])
        return np.concatenate(blocks) if blocks else np.zeros(0, np.int64)

    def __len__(self) -> int:
        return self._total

    @property
    def blocks(self) -> npt.NDArray[np.int64]:
        """How many records lie together, block after block."""
        return self._blocks

    @property
    def waits(self) -> bool:
        """Whether files are remote."""
        return None in self._paths

    def name(self, index: int) -> str:
        """The file and the number of the record."""
        at = self._file_of(index)
        return f"{self.urls[at]}, record {index - self._firsts[at]}"

    def read(self, index: int) -> Sample:
        """Reads, checks and parses a record."""
        at = self._file_of(index)
        record = self._record(index, at)
        try:
            number = index - self._firsts[at]
            data = checked_data(record, self.urls[at], number, verify=self._verify)
        except DataError as error:
            name = self.name(index)
            raise SampleError(name, str(error).removeprefix(name).strip()) from None
        try:
            return self._parse(data)
        except DataError as error:
            raise SampleError(self.name(index), str(error)) from None

    def _file_of(self, index: int) -> int:
        return bisect_right(self._firsts, index) - 1

    def _record(self, index: int, at: int) -> bytes:
        """The bytes of a record with its header and footer."""
        start, length = int(self._offsets[index]), int(self._lengths[index])
        path = self._paths[at]
        try:
            if path is not None:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    return os.pread(fd, length, start)
                finally:
                    os.close(fd)
            return self._remote(index, at)
        except (FileNotFoundError, MoxFileNotExistsException):
            raise SampleError(self.name(index), "is gone: the file was removed.") from None

    def _remote(self, index: int, at: int) -> bytes:
        block = int(self._block_starts.searchsorted(index, "right")) - 1
        first = int(self._block_starts[block])
        last = first + int(self._blocks[block]) - 1
        begin = int(self._offsets[first])
        size = int(self._offsets[last] + self._lengths[last]) - begin
        inside, length = int(self._offsets[index]) - begin, int(self._lengths[index])

        def fetch() -> bytes:
            location = locate(self.urls[at])
            return transfer.read(location.driver, location.path, start=begin, length=size)[0]

        if self._cache is not None and self._versions is not None:
            key = f"{self.urls[at]}#{begin}+{size}"
            return self._cache.read(key, self._versions[at], fetch, start=inside, length=length)
        with self._lock:
            if (record := self._take(index)) is not None:
                return record
            loading = self._loading.setdefault(block, threading.Lock())
        with loading:
            with self._lock:
                if (record := self._take(index)) is not None:
                    return record
            data = fetch()
            with self._lock:
                for other in range(first, last + 1):
                    if other != index:
                        place = int(self._offsets[other]) - begin
                        self._keep(other, data[place : place + int(self._lengths[other])])
                self._loading.pop(block, None)
        return data[inside : inside + length]

    def _take(self, index: int) -> bytes | None:
        record = self._waiting.pop(index, None)
        if record is not None:
            self._waiting_bytes -= len(record)
        return record

    def _keep(self, index: int, record: bytes) -> None:
        self._take(index)
        self._waiting[index] = record
        self._waiting_bytes += len(record)
        while self._waiting_bytes > _AHEAD:
            self._waiting_bytes -= len(self._waiting.popitem(last=False)[1])


@cache
def _hint_at_crc32c() -> None:
    if not is_fast():
        LOG.warning(
            "The checksums of TFRecords are computed in Python, which may take more time than "
            "decoding.\n  Install a faster way with:  pip install crc32c"
        )
