"""File objects: real io objects over ranges of remote objects, and over local files."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from abc import ABCMeta
from collections.abc import Iterator
from typing import IO, Any

from mox_core.storage import transfer
from mox_core.storage.copying import Sizes, scratch
from mox_core.storage.driver import Body, Driver, FileSlice, ObjectInfo
from mox_core.storage.errors import (
    ChangedError,
    MoxFileNotExistsException,
    MoxFileReadException,
    UnsupportedError,
)
from mox_core.storage.urls import Location, locate

__all__ = ["File", "Mode", "RangeReader", "open_file"]

LOG = logging.getLogger("mox.file")

SMALL_READ = 256 << 10
LARGE_READ = 16 << 20
NEAR = 1 << 20
"""A seek forward by less than this within reach of the read-ahead counts as reading on."""

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


class RangeReader(io.RawIOBase):
    """Reads a remote object by ranges, ahead of a reader that goes straight on.

    No connection stays open between reads. All ranges are of one version of the object.

    Args:
        driver: of the store.
        path: the object.
    """

    def __init__(self, driver: Driver, path: str) -> None:
        self._driver = driver
        self._path = path
        self._at = 0
        self._window = memoryview(b"")
        self._start = 0
        self._ahead = SMALL_READ
        # The first window also tells size and version: one request for a small file.
        self._info = self._fill(0)

    @property
    def name(self) -> str:
        """The URL."""
        return self._driver.url(self._path)

    @property
    def info(self) -> ObjectInfo:
        """The version that is being read."""
        return self._info

    def size(self) -> int:
        """Bytes of the object."""
        return self._info.size

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """The position."""
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        """Moves; asks the server nothing."""
        if whence not in (0, 1, 2):
            raise ValueError(f"whence must be 0, 1 or 2, not {whence}")
        at = offset + (0, self._at, self._info.size)[whence]
        if at < 0:
            raise OSError(22, f"cannot seek to {at}, before the start of {self.name}")
        self._at = at
        return at

    def readinto(self, buffer: Any) -> int:
        """Reads what is in the window, or the next window."""
        view = memoryview(buffer).cast("B")
        size = self._info.size
        if not len(view) or self._at >= size:
            return 0
        end = self._start + len(self._window)
        if not self._start <= self._at < end:
            straight_on = end <= self._at <= end + NEAR
            self._ahead = min(LARGE_READ, self._ahead * 2) if straight_on else SMALL_READ
            want = max(len(view), self._ahead)
            # A read of a whole window goes past the window straight to its reader.
            if len(view) >= LARGE_READ:
                want = len(view)
            self._fill(self._at, want)
        offset = self._at - self._start
        chunk = self._window[offset : offset + len(view)]
        view[: len(chunk)] = chunk
        self._at += len(chunk)
        return len(chunk)

    def readall(self) -> bytes:
        """The rest, in one request."""
        size = self._info.size
        if self._at >= size:
            return b""
        end = self._start + len(self._window)
        head = b""
        if self._start <= self._at < end:
            head = bytes(self._window[self._at - self._start :])
        rest = b""
        if self._at + len(head) < size:
            rest = self._read(self._at + len(head), size - self._at - len(head))
        self._at = size
        return head + rest if head and rest else head or rest

    def _fill(self, start: int, length: int = SMALL_READ) -> ObjectInfo:
        if start == 0 and not hasattr(self, "_info"):
            data, info = transfer.read(self._driver, self._path, length=length)
            self._info = info
        else:
            data = self._read(start, min(length, self._info.size - start))
        self._window = memoryview(data)
        self._start = start
        return self._info

    def _read(self, start: int, length: int) -> bytes:
        try:
            etag = self._info.etag
            return transfer.read(self._driver, self._path, start=start, length=length, etag=etag)[0]
        except (ChangedError, MoxFileNotExistsException) as error:
            raise MoxFileReadException(
                f"{self.name} was changed or removed while it was being read. Open it again."
            ) from error


class _Publisher:
    """Shared by writers: what to do at flush, close, and when nothing must be published."""

    discarded = False
    _driver: Driver
    _path: str

    @property
    def url(self) -> str:
        """The URL of the object."""
        return self._driver.url(self._path)

    def discard(self) -> None:
        """Forgets what was written since the last flush; close publishes nothing."""
        self.discarded = True


class UploadWriter(io.RawIOBase, _Publisher):
    """Writes a remote object from its start; large ones go up in parts while they are written.

    The object appears, or is replaced, as a whole at `flush` and `close`.

    Args:
        driver: of the store.
        path: the object.
        base: the object that new bytes are added to, or None to begin with nothing.
    """

    def __init__(self, driver: Driver, path: str, *, base: ObjectInfo | None = None) -> None:
        self._driver = driver
        self._path = path
        self._buffer = bytearray()
        self._upload = ""
        self._parts: list[str] = []
        self._sent = 0
        self._base = base
        self._published = -1
        self._part_size = max(Sizes.from_environment().part, driver.capabilities.min_part_size)
        if base is not None:
            self._published = base.size
            if base.size < self._part_size:
                data, self._base = transfer.read(driver, path)
                self._buffer += data
                self._base = None
                self._published = len(data)

    @property
    def name(self) -> str:
        """The URL."""
        return self._driver.url(self._path)

    def writable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """How many bytes there are."""
        return self._size()

    def _size(self) -> int:
        before = self._base.size if self._base is not None and not self._upload else 0
        return before + self._sent + len(self._buffer)

    def write(self, data: Any) -> int:
        """Takes bytes."""
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        view = memoryview(data).cast("B")
        count = len(view)
        self._buffer += view
        if self._driver.capabilities.multipart:
            while len(self._buffer) >= self._limit():
                self._send(self._limit())
        return count

    def _limit(self) -> int:
        """The part size, which grows so that no object runs out of part numbers."""
        return int(self._part_size) * (1 + len(self._parts) // 1000)

    def _send(self, size: int) -> None:
        """Sends the first `size` bytes of the buffer as a part."""
        self._begin()
        with memoryview(self._buffer) as view, view[:size] as part:
            self._parts.append(self._put_part(part))
        del self._buffer[:size]
        self._sent += size

    def _put_part(self, data: Body) -> str:
        number = len(self._parts) + 1
        driver = self._driver
        return driver.retry.call(
            driver.upload_part, self._path, self._upload, number, data, size=len(data)
        )

    def _begin(self) -> None:
        """Begins an upload; the object that is added to becomes its first parts."""
        if self._upload:
            return
        driver = self._driver
        self._upload = driver.retry.call(driver.begin_upload, self._path)
        self._parts = []
        self._sent = 0
        base, self._base = self._base, None
        if base is None:
            return
        for start, length in transfer.copy_ranges(driver, base.size, 1 << 30):
            try:
                if not driver.capabilities.part_copy:
                    raise UnsupportedError
                self._parts.append(
                    driver.retry.call(
                        driver.copy_part, self._path, self._upload, len(self._parts) + 1,
                        self._path, start=start, length=length, etag=base.etag,
                    )
                )  # fmt: skip
            except UnsupportedError:
                for at, size in transfer.copy_ranges(driver, length, self._part_size):
                    data = transfer.read(
                        driver, self._path, start=start + at, length=size, etag=base.etag
                    )[0]
                    self._parts.append(self._put_part(data))
            self._sent += length

    def flush(self) -> None:
        """Publishes what was written so far."""
        if self.closed or self.discarded or self._size() == self._published:
            return
        driver = self._driver
        can = driver.capabilities
        small = not self._upload and self._base is None
        if not small and can.multipart:
            self._begin()
            if self._buffer:
                self._send(len(self._buffer))
            upload, size = self._upload, self._sent
            self._base = transfer.complete(driver, self._path, upload, self._parts, size)
            # What comes next is added to the object as it is now.
            self._base = self._base._replace(path=self._path, size=size)
            self._upload = ""
            self._sent = 0
        else:
            body = bytes(self._buffer)
            driver.retry.call(driver.put, self._path, body, size=len(body))
        self._published = self._size()

    def close(self) -> None:
        """Publishes the rest, unless the writer was discarded."""
        if self.closed:
            return
        try:
            if not self.discarded:
                self.flush()
        finally:
            upload, self._upload = self._upload, ""
            if upload:
                transfer.abort(self._driver, self._path, upload)
            self._buffer = bytearray()
            self.discarded = True  # io's close flushes once more
            super().close()

    def __del__(self) -> None:
        _forgotten(self, self)


class EditFile(io.FileIO, _Publisher):
    """A remote object that is read and written at any place: a local copy, sent back whole.

    Args:
        driver: of the store.
        path: the object.
        mode: `r+`, `w+` or `a+`.
    """

    def __init__(self, driver: Driver, path: str, mode: str) -> None:
        self._driver = driver
        self._path = path
        self._changed = mode == "w+"
        import tempfile

        handle, name = tempfile.mkstemp(prefix="mox-", dir=scratch())
        try:
            super().__init__(name, "a+" if mode == "a+" else "r+")
        finally:
            os.close(handle)
            os.unlink(name)
        if mode != "w+":
            try:
                transfer.restarting(self._load)
            except MoxFileNotExistsException:
                if mode == "r+":
                    self.discarded = True
                    self.close()
                    raise
                self._changed = True

    def _load(self) -> None:
        os.ftruncate(self.fileno(), 0)
        if self.mode.startswith("a"):
            with open(self.fileno(), "ab", closefd=False) as out:
                transfer.fetch(self._driver, self._path, out.write)
        else:
            transfer.fetch(self._driver, self._path, transfer.FdWriter(self.fileno()))

    def write(self, data: Any) -> int:
        """Writes into the copy."""
        self._changed = True
        return super().write(data)

    def truncate(self, size: int | None = None) -> int:
        """Cuts the copy."""
        self._changed = True
        return super().truncate(size)

    def flush(self) -> None:
        """Sends the whole content, when it was changed."""
        super().flush()
        if self.discarded or not self._changed:
            return
        driver = self._driver
        size = os.fstat(self.fileno()).st_size
        if size > Sizes.from_environment().whole and driver.capabilities.multipart:
            self._send_parts(size)
        else:
            body = FileSlice(self.fileno(), 0, size)
            driver.retry.call(driver.put, self._path, body, size=size)
        self._changed = False

    def _send_parts(self, size: int) -> None:
        writer = UploadWriter(self._driver, self._path)
        with contextlib.closing(writer):
            try:
                for at in range(0, size, LARGE_READ):
                    writer.write(os.pread(self.fileno(), LARGE_READ, at))
            except BaseException:
                writer.discard()
                raise

    def close(self) -> None:
        """Sends what changed, unless the file was discarded."""
        if self.closed:
            return
        try:
            if not self.discarded:
                self.flush()
        finally:
            self.discarded = True  # io's close flushes once more
            super().close()

    def __del__(self) -> None:
        _forgotten(self, self)


class LocalFile(io.FileIO):
    """A local file; what was written before an exception stays, as with `open`."""


def _forgotten(file: io.IOBase, raw: object) -> None:
    """A writer that is collected without close publishes nothing: it may be half written."""
    if file.closed or not isinstance(raw, _Publisher) or raw.discarded:
        return
    raw.discard()
    LOG.warning(
        "%s was never closed: what was written since the last flush is lost. "
        "Use `with mox.file.File(...) as f:`.",
        raw.url,
    )
    file.close()


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
        if kind is not None and isinstance(self._raw, _Publisher):
            self._raw.discard()
        self.close()  # type: ignore[attr-defined]

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, ValueError):
            _forgotten(self, self._raw)  # type: ignore[arg-type]


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
