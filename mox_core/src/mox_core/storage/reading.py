"""Reading a remote object by ranges, ahead of a reader that goes straight on."""

from __future__ import annotations

import io
from typing import Any

from mox_core.storage import transfer
from mox_core.storage.driver import Driver, ObjectInfo
from mox_core.storage.errors import ChangedError, MoxFileNotExistsException, MoxFileReadException

__all__ = ["RangeReader"]

SMALL_READ = 256 << 10
LARGE_READ = 16 << 20
NEAR = 1 << 20
"""A seek forward by less than this within reach of the read-ahead counts as reading on."""


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
