"""One object at a time: reading ranges that resume and are verified, writing, appending."""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from mox_core._lazy import lazy_logger
from mox_core.storage.driver import Body, Driver, ObjectInfo, Piped
from mox_core.storage.errors import (
    ChangedError,
    MoxFileNotExistsException,
    MoxFileReadException,
    TransientError,
    UnsupportedError,
)
from mox_core.storage.retry import Retry, Stopped

__all__ = [
    "FdWriter",
    "abort",
    "append",
    "complete",
    "copy_ranges",
    "cut",
    "digest_of",
    "fetch",
    "find",
    "new_digest",
    "put_checked",
    "read",
    "restarting",
]

T = TypeVar("T")

LOG = lazy_logger("mox.file")

PROGRESS = 1 << 20
"""An attempt that brought this many bytes was no failure: the count of attempts starts afresh."""

RESTARTS = 3

PIPED = 1 << 20
"""From so many bytes on a pipe pays, past which no copy of them comes into this process."""

IN_MEMORY = 64 << 20
"""What is larger is never held in memory as a whole."""


class Digest(Protocol):
    """What hashlib's objects can do."""

    def update(self, data: memoryview, /) -> None:
        """Takes the next bytes."""

    def hexdigest(self) -> str:
        """The digest of all bytes so far."""


class _Crc32:
    def __init__(self) -> None:
        import zlib  # here, because starting is quicker without it

        self._crc32 = zlib.crc32
        self._value = 0

    def update(self, data: memoryview, /) -> None:
        self._value = self._crc32(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


def new_digest(digest: str) -> Digest | None:
    """A hash object for `algorithm:hex`, or None when there is none to compare with."""
    algorithm = digest.partition(":")[0]
    if algorithm == "md5":
        return hashlib.md5(usedforsecurity=False)
    if algorithm == "crc32":
        return _Crc32()
    if algorithm in ("sha256", "sha1"):
        return hashlib.new(algorithm, usedforsecurity=False)
    return None


def digest_of(digest: Digest, wanted: str, url: str) -> None:
    """Compares.

    Raises:
        MoxFileReadException: the content is not what the server vouches for.
    """
    algorithm, _, value = wanted.partition(":")
    if digest.hexdigest() != value.lower():
        raise MoxFileReadException(
            f"{url} arrived damaged: its {algorithm} is {digest.hexdigest()}, not {value}. "
            "Nothing was kept; try again."
        )


class FdWriter:
    """Writes chunks one after the other at a position of a file."""

    __slots__ = ("at", "fd")

    def __init__(self, fd: int, at: int = 0) -> None:
        self.fd = fd
        self.at = at

    def __call__(self, chunk: memoryview | Piped) -> None:
        """Writes a chunk."""
        if isinstance(chunk, Piped):
            chunk.write_to(self.fd, self.at)
            self.at += len(chunk)
            return
        while True:
            done = os.pwrite(self.fd, chunk, self.at)
            self.at += done
            if done == len(chunk):
                return
            chunk = chunk[done:]


class _Receiver:
    """Counts, checks and passes on what arrives, over all attempts at one range."""

    __slots__ = (
        *("digest", "done", "etag", "info", "left", "length"),
        *("out", "piped", "start", "stop", "url"),
    )

    def __init__(
        self,
        url: str,
        out: Callable[[Any], object],
        *,
        start: int,
        length: int | None,
        etag: str,
        retry: Retry,
        piped: bool,
    ) -> None:
        self.url = url
        self.piped = piped
        self.out = out
        self.start = start
        self.length = length
        self.etag = etag
        self.stop = retry.stop
        self.done = 0
        self.left = 0
        self.info: ObjectInfo | None = None
        self.digest: Digest | None = None

    def begin(self, info: ObjectInfo) -> None:
        """Pins the version at the first answer and compares the later ones with it."""
        if self.etag and info.etag and info.etag != self.etag:
            raise ChangedError(f"{self.url} was changed while it was being read")
        if self.info is None:
            self.info = info
            self.etag = info.etag
            self.left = max(0, info.size - self.start)
            if self.length is not None:
                self.left = min(self.left, self.length)
            if self.left == info.size and info.digest:
                self.digest = new_digest(info.digest)
        elif info.size != self.info.size:
            raise ChangedError(f"{self.url} was changed while it was being read")

    @property
    def pipes(self) -> bool:
        """Whether bytes need not come into this process: nothing is computed from them."""
        return self.piped and self.digest is None and self.left >= PIPED

    def write(self, chunk: memoryview | Piped) -> None:
        """Takes the next bytes."""
        if self.stop is not None and self.stop.is_set():
            raise Stopped
        count = len(chunk)
        if count > self.left:
            raise TransientError(f"{self.url}: the server sent more bytes than it announced")
        if self.digest is not None and isinstance(chunk, memoryview):
            self.digest.update(chunk)
        self.out(chunk)
        self.done += count
        self.left -= count

    def finish(self) -> ObjectInfo:
        """Checks length and digest."""
        if self.info is None or self.left:
            raise TransientError(f"{self.url}: {self.left} bytes are missing at the end")
        if self.digest is not None:
            digest_of(self.digest, self.info.digest, self.url)
        return self.info


def fetch(
    driver: Driver,
    path: str,
    out: Callable[[Any], object],
    *,
    start: int = 0,
    length: int | None = None,
    etag: str = "",
    retry: Retry | None = None,
    piped: bool = False,
) -> ObjectInfo:
    """Reads a range, in as many attempts as it takes, and gives each byte to `out` once.

    Args:
        driver: of the store.
        path: the object.
        out: takes the chunks, in order.
        start: first byte.
        length: number of bytes; None reads to the end.
        etag: only this version.
        retry: how to retry, else the driver's way.
        piped: whether `out` takes `Piped` for a chunk, as FdWriter does.

    Returns:
        The object that was read.

    Raises:
        ChangedError: the object changed; what `out` got belongs to the old version.
        MoxFileReadException: a whole object arrived, but is not what the server vouches for.
    """
    retry = retry or driver.retry
    receiver = _Receiver(
        driver.url(path), out, start=start, length=length, etag=etag, retry=retry, piped=piped
    )
    attempt = 0
    before = last = 0
    began = time.monotonic()
    while True:
        try:
            driver.fetch(
                path,
                receiver,
                start=start + receiver.done,
                length=length if receiver.info is None else receiver.left,
                etag=receiver.etag,
            )
            return receiver.finish()
        except TransientError as error:
            if receiver.done - before >= PROGRESS:
                attempt, before = 0, receiver.done
            if receiver.done > last:  # only silence uses up the time
                last, began = receiver.done, time.monotonic()
            attempt += 1
            retry.pause(error, attempt=attempt, began=began)


def restarting(function: Callable[[], T]) -> T:
    """Calls again from the start when an object changed, or arrived damaged, while it was read."""
    for _ in range(RESTARTS - 1):
        try:
            return function()
        except (ChangedError, MoxFileReadException):
            continue
    return function()


def read(
    driver: Driver,
    path: str,
    *,
    start: int = 0,
    length: int | None = None,
    etag: str = "",
    retry: Retry | None = None,
) -> tuple[bytes, ObjectInfo]:
    """Reads a range into memory.

    Raises:
        ChangedError: the object is not of the version `etag`, or changes all the time.
        MoxFileReadException: it arrived damaged three times.
    """

    def once() -> tuple[bytes, ObjectInfo]:
        buffer = io.BytesIO()  # its getvalue copies nothing
        info = fetch(driver, path, buffer.write, start=start, length=length, etag=etag, retry=retry)
        return buffer.getvalue(), info

    return once() if etag else restarting(once)


def find(driver: Driver, path: str) -> ObjectInfo | None:
    """Describes an object, or None when it does not exist."""
    try:
        return driver.retry.call(driver.stat, path)
    except MoxFileNotExistsException:
        return None


def append(driver: Driver, path: str, data: bytes) -> None:
    """Adds bytes to the end of an object, which is created when it is missing.

    Natively where the store can; else by joining the old object and the new bytes inside the
    store; else, for what is small, by writing it anew. Two writers do not lose each other's bytes
    where the store has any means against that.
    """

    def once() -> None:
        old = find(driver, path)
        size = old.size if old else 0
        if driver.capabilities.append:
            try:
                driver.retry.call(_append_once, driver, path, data, size)
                return
            except UnsupportedError:
                pass
        if old is None or not size:
            put_checked(driver, path, data, old=old)
        elif not _compose(driver, old, data):
            whole, info = read(driver, path)
            put_checked(driver, path, whole + data, old=info)

    for _ in range(20):
        try:
            return once()
        except ChangedError:
            continue
    once()


def _append_once(driver: Driver, path: str, data: bytes, position: int) -> None:
    try:
        driver.append(path, data, position=position)
    except TransientError:
        # Nobody knows whether the bytes arrived: the size tells.
        try:
            now = driver.stat(path).size
        except MoxFileNotExistsException:
            now = 0
        if now != position + len(data):
            raise


def put_checked(driver: Driver, path: str, data: Body, *, old: ObjectInfo | None) -> ObjectInfo:
    """Replaces exactly the version `old` (None: creates), where the store can tell."""
    if not driver.capabilities.conditional_put:
        return driver.retry.call(driver.put, path, data, size=len(data))
    if_match = old.etag if old else ""
    return driver.retry.call(
        driver.put, path, data, if_match=if_match, if_absent=old is None, size=len(data)
    )


def cut(size: int, part: int) -> list[tuple[int, int]]:
    """Cuts `size` bytes into (start, length) of `part` bytes; the last may be shorter."""
    return [(at, min(part, size - at)) for at in range(0, size, part)]


def copy_ranges(driver: Driver, size: int, part: int) -> list[tuple[int, int]]:
    """Cuts `size` bytes into (start, length) of `part` bytes, none of them below the minimum."""
    ranges = cut(size, part)
    if len(ranges) > 1 and ranges[-1][1] < driver.capabilities.min_part_size:
        at, _ = ranges[-2]
        ranges[-2:] = [(at, size - at)]
    return ranges


def _compose(driver: Driver, old: ObjectInfo, data: bytes) -> bool:
    """Makes `old` + `data` inside the store; False when the store cannot."""
    can = driver.capabilities
    if not (can.multipart and can.part_copy) or old.size < can.min_part_size:
        return False
    call = driver.retry.call
    path = old.path
    upload = call(driver.begin_upload, path)
    done = False
    try:
        parts: list[str] = []
        try:
            for start, length in copy_ranges(driver, old.size, can.max_copy_size // 2):
                part = call(
                    driver.copy_part, path, upload, len(parts) + 1, path,
                    start=start, length=length, etag=old.etag,
                )  # fmt: skip
                parts.append(part)
        except UnsupportedError:
            return False
        parts.append(call(driver.upload_part, path, upload, len(parts) + 1, data, size=len(data)))
        complete(driver, path, upload, parts, old.size + len(data))
        done = True
        return True
    finally:
        if not done:
            abort(driver, path, upload)


def complete(
    driver: Driver, path: str, upload: str, parts: list[str], size: int, retry: Retry | None = None
) -> ObjectInfo:
    """Completes an upload and checks the size of the object.

    An answer that got lost leaves no upload behind: then the object itself is looked at.
    """
    retry = retry or driver.retry
    try:
        info = retry.call(driver.complete_upload, path, upload, parts)
    except MoxFileNotExistsException:
        there = find(driver, path)
        if there is None or there.size != size:
            raise
        return there
    if not info.size:
        info = retry.call(driver.stat, path)
    if info.size != size:
        raise MoxFileReadException(
            f"{driver.url(path)} has {info.size} bytes after the upload, not {size}"
        )
    return info


def abort(driver: Driver, path: str, upload: str) -> None:
    """Discards an upload; what fails here must not hide why it is discarded."""
    try:
        driver.retry.call(driver.abort_upload, path, upload)
    except Exception as error:
        LOG.warning(
            "could not discard the unfinished upload %s of %s: %s", upload, driver.url(path), error
        )
