"""Writing a remote object: straight on, or at any place of a local copy."""

from __future__ import annotations

import contextlib
import io
import os
from typing import Any

from mox_core._lazy import lazy_logger
from mox_core.storage import transfer
from mox_core.storage.driver import Body, Driver, FileSlice, ObjectInfo
from mox_core.storage.errors import MoxFileNotExistsException, UnsupportedError
from mox_core.storage.parts import Sizes

__all__ = ["EditFile", "Publisher", "UploadWriter", "forgotten"]

LOG = lazy_logger("mox.file")

STEP = 16 << 20


class Publisher:
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


class UploadWriter(io.RawIOBase, Publisher):
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
        forgotten(self, self)


class EditFile(io.FileIO, Publisher):
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

        from mox_core.storage.copying import scratch

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
                for at in range(0, size, STEP):
                    writer.write(os.pread(self.fileno(), STEP, at))
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
        forgotten(self, self)


def forgotten(file: io.IOBase, raw: object) -> None:
    """A writer that is collected without close publishes nothing: it may be half written."""
    if file.closed or not isinstance(raw, Publisher) or raw.discarded:
        return
    raw.discard()
    LOG.warning(
        "%s was never closed: what was written since the last flush is lost. "
        "Use `with mox.file.File(...) as f:`.",
        raw.url,
    )
    file.close()
