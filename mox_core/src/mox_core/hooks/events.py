"""TensorBoard event files, written and read without any framework."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from mox_core.crc32c import masked_crc32c
from mox_core.errors import MoxError
from mox_core.protobuf import decode, field_bytes, field_double, field_float, field_varint

__all__ = ["EventFileWriter", "read_events"]

# Field numbers of the messages Event, SessionLog, Summary and Summary.Value.
_WALL_TIME, _STEP, _FILE_VERSION, _GRAPH_DEF, _SUMMARY, _SESSION_LOG = 1, 2, 3, 4, 5, 7
_STATUS, _START = 1, 1
_VALUE = 1
_TAG, _SIMPLE_VALUE = 1, 2

_FLUSH_AT = 1 << 20
_NUMBERS = itertools.count()


class EventFileWriter:
    """Appends events to a file of its own in a folder.

    Folder and file come into being with the first flush. Events are buffered until `flush`,
    `close` or a megabyte; the file always ends with a whole record. All methods that write
    raise `MoxError` when the folder cannot be written or the disk is full: the events since the
    last flush are lost then, those before are kept.

    Args:
        log_dir: the folder that TensorBoard shows as one run.
        filename_suffix: appended to the file's name.
    """

    def __init__(self, log_dir: str | os.PathLike[str], filename_suffix: str = "") -> None:
        self._folder = Path(log_dir)
        self._suffix = filename_suffix
        self._file: io.FileIO | None = None
        self._size = 0
        self._buffer = bytearray()
        self._closed = False

    def add_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add values by tag, stored as float32.

        Args:
            step: the global step.
            scalars: value by tag; nothing is written when empty.
        """
        values = (
            field_bytes(
                _VALUE,
                field_bytes(_TAG, tag.encode()) + field_float(_SIMPLE_VALUE, float(value)),
            )
            for tag, value in scalars.items()
        )
        if summary := b"".join(values):
            self.add_summary(step, summary)

    def add_summary(self, step: int, summary: bytes) -> None:
        """Add a serialized `tensorflow.Summary`."""
        self._add(field_varint(_STEP, step) + field_bytes(_SUMMARY, summary))

    def add_graph(self, graph_def: bytes) -> None:
        """Add a serialized `tensorflow.GraphDef`."""
        self._add(field_bytes(_GRAPH_DEF, graph_def))

    def add_session_start(self, step: int) -> None:
        """Say that a run resumes at a step: TensorBoard drops earlier events from there on."""
        log = field_varint(_STATUS, _START)
        self._add(field_varint(_STEP, step) + field_bytes(_SESSION_LOG, log))

    def flush(self) -> None:
        """Write the buffered events to the file."""
        if not self._buffer:
            return
        data, self._buffer = bytes(self._buffer), bytearray()
        try:
            if self._file is None:
                self._file = self._create()
            self._write(self._file, data)
        except OSError as error:
            raise MoxError(
                f"cannot write summaries to {error.filename or self._path_in_words()}: "
                f"{error.strerror or error}"
            ) from error

    def close(self) -> None:
        """Write the buffered events and close the file. Closing again does nothing."""
        try:
            if not self._closed:
                self.flush()
        finally:
            self._closed = True
            if self._file is not None:
                self._file.close()

    def _add(self, fields: bytes) -> None:
        if self._closed:
            raise MoxError(f"the summaries in {self._path_in_words()} are closed already")
        if not self._size and not self._buffer:
            self._buffer += _record(_event(field_bytes(_FILE_VERSION, b"brain.Event:2")))
        self._buffer += _record(_event(fields))
        if len(self._buffer) >= _FLUSH_AT:
            self.flush()

    def _create(self) -> io.FileIO:
        import socket

        self._folder.mkdir(parents=True, exist_ok=True)
        prefix = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"
        while True:
            # Never twice in a process: the folder may be a stand-in for one that has other files.
            number = next(_NUMBERS)
            with contextlib.suppress(FileExistsError):
                return io.FileIO(self._folder / f"{prefix}.{number}{self._suffix}", "x")

    def _write(self, file: io.FileIO, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            file.truncate(self._size)
            file.seek(self._size)
            raise
        self._size += len(data)

    def _path_in_words(self) -> str:
        return str(self._folder if self._file is None else self._file.name)


def read_events(path: str | os.PathLike[str]) -> Iterator[tuple[int, float, dict[str, float]]]:
    """Yield the scalars of an event file.

    Args:
        path: the file.

    Yields:
        The global step, the time in seconds since 1970, and value by tag, one tuple for every
        event that holds scalars.

    Raises:
        MoxError: the file cannot be read, is damaged or ends within a record.
    """
    try:
        with open(path, "rb") as file:
            for event in _read_records(file, str(path)):
                step, wall_time, scalars = _scalars(event)
                if scalars:
                    yield step, wall_time, scalars
    except OSError as error:
        raise MoxError(f"cannot read the event file {path}: {error.strerror or error}") from error
    except (KeyError, TypeError, ValueError, struct.error) as error:
        raise MoxError(f"{path} is no event file of TensorBoard: {error}") from error


def _event(fields: bytes) -> bytes:
    return field_double(_WALL_TIME, time.time()) + fields


def _record(data: bytes) -> bytes:
    """Frame data as TFRecord files do."""
    length = struct.pack("<Q", len(data))
    checksums = (struct.pack("<I", masked_crc32c(part)) for part in (length, data))
    return length + next(checksums) + data + next(checksums)


def _read_records(file: io.BufferedReader, path: str) -> Iterator[bytes]:
    while header := file.read(12):
        at = file.tell() - len(header)
        if len(header) == 12 and _checks(header[:8], header[8:]):
            length = int.from_bytes(header[:8], "little")
            data, checksum = file.read(length), file.read(4)
            if _checks(data, checksum):
                yield data
                continue
        raise MoxError(f"{path} is damaged: no whole record with a valid checksum at byte {at}")


def _checks(data: bytes, checksum: bytes) -> bool:
    return masked_crc32c(data).to_bytes(4, "little") == checksum


def _scalars(event: bytes) -> tuple[int, float, dict[str, float]]:
    step, wall_time, scalars = 0, 0.0, {}
    for number, field in decode(event):
        if number == _STEP:
            step = int(field)
        elif number == _WALL_TIME:
            (wall_time,) = struct.unpack("<d", field)
        elif number == _SUMMARY:
            for value in (dict(decode(value)) for _, value in decode(field)):
                if _SIMPLE_VALUE in value:
                    (scalars[value[_TAG].decode()],) = struct.unpack("<f", value[_SIMPLE_VALUE])
    return step, wall_time, scalars
