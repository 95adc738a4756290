"""File objects: real io objects over ranges of remote objects, and over local files."""

from __future__ import annotations

import contextlib
import io
import os
from abc import ABCMeta
from collections.abc import Iterator
from typing import IO, Any

from mox_core.storage import transfer
from mox_core.storage.errors import MoxFileNotExistsException
from mox_core.storage.reading import RangeReader
from mox_core.storage.urls import Location, locate
from mox_core.storage.writing import EditFile, Publisher, UploadWriter, forgotten

__all__ = ["File", "Mode", "open_file"]

BUFFER = 64 << 10
MODES = ("r", "w", "a", "r+", "w+", "a+")


class Mode:
    """A mode of open, taken apart; `b` and `t` may stand anywhere.

    Args:
        mode: as the user wrote it.

    Raises:
        ValueError: it is none of the modes; the message lists them.
    """

    def __init__(self, mode: str) -> None:
        plain = mode.replace("b", "", 1).replace("t", "", 1) if isinstance(mode, str) else ""
        if plain.startswith("+"):
            plain = plain[1:] + "+"
        if plain not in MODES or ("b" in mode and "t" in mode):
            known = ", ".join(MODES)
            raise ValueError(f"mode {mode!r} is none of {known}, each with or without b")
        self.plain = plain
        self.binary = "b" in mode
        self.reads = plain[0] == "r" or "+" in plain
        self.writes = plain != "r"
        self.updates = "+" in plain


class LocalFile(io.FileIO):
    """A local file; what was written before an exception stays, as with `open`."""


class _FileMethods:
    """What mox.file's File has beyond io's objects."""

    _mox_name: str
    _mox_mode: str
    _raw: io.RawIOBase

    def size(self) -> int:
        """Bytes of the file, with what was written so far."""
        raw = self._raw
        if isinstance(raw, RangeReader):
            return raw.size()
        if raw.writable():
            self._push()
        if isinstance(raw, UploadWriter):
            return raw.tell()
        return os.fstat(raw.fileno()).st_size

    def _push(self) -> None:
        """Moves buffered text and bytes into the raw file without publishing them."""
        buffer: Any = getattr(self, "buffer", self)
        buffer._quiet = True
        try:
            self.flush()  # type: ignore[attr-defined]
        finally:
            buffer._quiet = False

    def tell(self) -> int:
        """The position; of a remote file that is written straight on, its size."""
        if isinstance(self._raw, UploadWriter):
            self._push()
            return self._raw.tell()
        position: int = super().tell()  # type: ignore[misc]
        return position

    def next(self) -> Any:
        """The next line."""
        return next(self)  # type: ignore[call-overload]

    @property
    def mode(self) -> str:
        """The mode that the file was opened with."""
        return self._mox_mode

    @property
    def name(self) -> str:
        """The path or URL that the file was opened with."""
        return self._mox_name

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None and isinstance(self._raw, Publisher):
            self._raw.discard()
        self.close()  # type: ignore[attr-defined]

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, ValueError):
            forgotten(self, self._raw)  # type: ignore[arg-type]


class _Reader(_FileMethods, io.BufferedReader):
    pass


class _Writer(_FileMethods, io.BufferedWriter):
    _quiet = False

    def flush(self) -> None:
        super().flush()
        if not self._quiet:
            self._raw.flush()

    def close(self) -> None:
        self._quiet = True  # closing the raw file publishes
        super().close()


class _Random(_FileMethods, io.BufferedRandom):  # type: ignore[override]
    _quiet = False

    def flush(self) -> None:
        super().flush()
        if not self._quiet:
            self._raw.flush()

    def close(self) -> None:
        self._quiet = True  # closing the raw file publishes
        super().close()


class _Text(_FileMethods, io.TextIOWrapper):
    def close(self) -> None:
        with contextlib.suppress(AttributeError):
            self.buffer._quiet = True  # type: ignore[attr-defined]
        super().close()


class File(metaclass=ABCMeta):  # noqa: B024
    """Opens a local or remote file, like `open`; the result is an object of the io module.

    Writing to a remote file changes nothing before `flush` or `close`, and nothing at all when an
    exception leaves its `with` block. `w` and `a` write straight on; for seeking while writing use
    `w+`, `r+` or `a+`, which work on a local copy.

    Args:
        name: path or URL.
        mode: r, w, a, r+, w+, a+, each with or without b.
        buffering: bytes of the buffer; -1 chooses. Line buffering (1) is for local text files.
        encoding: of text, UTF-8 unless said otherwise.
        errors: as in `open`.
        newline: as in `open`.

    Raises:
        ValueError: there is no such mode.
        MoxFileNotExistsException: the file to read does not exist.
    """

    def __new__(
        cls,
        name: str | os.PathLike[str],
        mode: str = "r",
        *,
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> Any:
        """Opens the file."""
        return open_file(
            name, mode, buffering=buffering, encoding=encoding, errors=errors, newline=newline
        )


for _kind in (_Reader, _Writer, _Random, _Text):
    File.register(_kind)


def open_file(
    name: str | os.PathLike[str],
    mode: str = "r",
    *,
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
) -> IO[Any]:
    """Opens a file; see File."""
    how = Mode(mode)
    if how.binary and (encoding or errors or newline is not None):
        raise ValueError("a binary mode takes no encoding, errors or newline")
    location = locate(name)
    raw = _open_raw(location, how)
    size = buffering if buffering > 1 else BUFFER
    file: Any
    if how.updates:
        file = _Random(raw, size)
    elif how.writes:
        file = _Writer(raw, size)
    else:
        file = _Reader(raw, size)
    file._raw = raw
    file._mox_name, file._mox_mode = os.fspath(name), mode
    if not how.binary:
        file = _Text(file, encoding or "utf-8", errors, newline, line_buffering=buffering == 1)
        file._raw = raw
        file._mox_name, file._mox_mode = os.fspath(name), mode
    return file  # type: ignore[no-any-return]


def _open_raw(location: Location, how: Mode) -> io.RawIOBase:
    driver, path = location.driver, location.path
    if location.is_local:
        with local_errors(path):
            return LocalFile(path, how.plain)
    if path.endswith("/") or location.is_bucket:
        raise IsADirectoryError(21, "is a directory", location.url)
    if how.updates:
        return EditFile(driver, path, how.plain)
    if how.plain == "r":
        return RangeReader(driver, path)
    base = transfer.find(driver, path) if how.plain == "a" else None
    if base is not None and not driver.capabilities.multipart:
        return EditFile(driver, path, "a+")
    return UploadWriter(driver, path, base=base)


@contextlib.contextmanager
def local_errors(path: str) -> Iterator[None]:
    """A missing local file raises what a missing remote one raises."""
    try:
        yield
    except FileNotFoundError as error:
        raise MoxFileNotExistsException(f"there is no file or directory {path}") from error
