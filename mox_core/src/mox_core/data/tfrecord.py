"""The framing of TFRecord files: length, its checksum, data, their checksum.

Source: tensorflow/core/lib/io/record_writer.h. Both checksums are masked CRC-32Cs.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import IO

from mox_core.crc32c import masked_crc32c
from mox_core.errors import DataError
from mox_core.storage import api as file
from mox_core.storage.local import WholeFile
from mox_core.storage.urls import locate

__all__ = ["FOOTER", "HEADER", "TFRecordWriter", "checked_data", "checked_length", "read_records"]

HEADER = 12
"""Bytes before the data of a record."""

FOOTER = 4
"""Bytes after them."""

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")


def checked_length(header: bytes, url: str, number: int) -> int:
    """The length of a record's data.

    Args:
        header: its first 12 bytes.
        url: the file, for messages.
        number: of the record, from 0, for messages.

    Raises:
        DataError: the checksum does not fit, or the header is cut off.
    """
    if len(header) < HEADER:
        raise DataError(
            f"{url}, record {number} is cut off: the file ends within its first {HEADER} bytes."
        )
    length, crc = _HEADER.unpack(header)
    if masked_crc32c(header[:8]) != crc:
        raise DataError(
            f"{url}, record {number} is damaged: the checksum of its length does not fit."
            + ("\n  This may be no TFRecord file, or a compressed one." if not number else "")
        )
    return int(length)


def checked_data(record: bytes, url: str, number: int, *, verify: bool = True) -> bytes:
    """The data of a record.

    Args:
        record: the whole record with its header.
        url: the file, for messages.
        number: of the record, from 0, for messages.
        verify: whether to compare the checksum of the data.

    Raises:
        DataError: the checksum does not fit, or the record is cut off.
    """
    length = checked_length(record[:HEADER], url, number)
    if len(record) < HEADER + length + FOOTER:
        raise DataError(
            f"{url}, record {number} is cut off: {HEADER + length + FOOTER - len(record)} bytes "
            "are missing."
        )
    data = record[HEADER : HEADER + length]
    if verify and masked_crc32c(data) != _FOOTER.unpack_from(record, HEADER + length)[0]:
        raise DataError(f"{url}, record {number} is damaged: the checksum of its data differs.")
    return data


def read_records(url: str | os.PathLike[str], *, verify: bool = True) -> Iterator[bytes]:
    """Yields the data of all records of a file, from front to back.

    Args:
        url: local path or URL.
        verify: whether to compare the checksum of the data.

    Raises:
        DataError: a record is damaged or cut off.
    """
    where = os.fspath(url)
    with file.File(where, "rb") as opened:
        number = 0
        while header := opened.read(HEADER):
            length = checked_length(header, where, number)
            rest = opened.read(length + FOOTER)
            yield checked_data(header + rest, where, number, verify=verify)
            number += 1


class TFRecordWriter:
    """Writes a TFRecord file, which appears whole when the writer is closed.

        with TFRecordWriter("s3://bucket/train.tfrecord") as writer:
            writer.write(format_example({"image/class/label": 1}))

    Args:
        url: local path or URL.
    """

    def __init__(self, url: str | os.PathLike[str]) -> None:
        location = locate(url)
        self._whole: WholeFile | None = None
        self._file: IO[bytes]
        if location.is_local:
            os.makedirs(os.path.dirname(location.path) or ".", exist_ok=True)
            self._whole = WholeFile(location.path)
            self._file = os.fdopen(self._whole.fd, "wb", 1 << 20, closefd=False)
        else:
            self._file = file.File(location.url, "wb")

    def write(self, data: bytes) -> None:
        """Adds a record."""
        length = struct.pack("<Q", len(data))
        self._file.write(length + _FOOTER.pack(masked_crc32c(length)))
        self._file.write(data)
        self._file.write(_FOOTER.pack(masked_crc32c(data)))

    def close(self) -> None:
        """Completes the file."""
        self._file.close()
        if self._whole is not None and self._whole.fd >= 0:
            self._whole.publish()

    def __enter__(self) -> TFRecordWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.close()
        elif self._whole is not None:
            self._file.close()
            self._whole.discard()
        else:
            self._file.__exit__(kind, *rest)  # type: ignore[arg-type]
