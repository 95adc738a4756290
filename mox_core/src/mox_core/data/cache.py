"""Local copies of remote data: complete or absent, shared by many processes, bounded.

An entry is a file whose name is a digest of what it is a copy of, its version included. It is
written under another name and renamed. Locks are flock's, which the kernel gives back when a
process dies. A file holds the bytes of all entries, corrected whenever somebody counts them.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import hashlib
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator

from mox_core.errors import DataError
from mox_core.storage.local import WholeFile, write_all

__all__ = ["CACHE_VARIABLE", "LocalCache", "resolve_cache_dir"]

CACHE_VARIABLE = "DLS_LOCAL_CACHE_PATH"
_DEFAULT = "/cache"
_SIZE_VARIABLE = "MOX_DATA_CACHE_BYTES"
_OF_FREE = 0.8
"""Part of the free space that a cache takes when nobody says how much."""

_KEEP = 0.9
"""Part of its limit to which a full cache is emptied, so that it is not full again at once."""

_RESERVED = 128
"""A process takes room for new entries in steps of this part of the limit, to ask rarely."""

_TOUCH_AFTER = 60.0
"""Seconds after which reading an entry marks it as used."""

LOG = logging.getLogger("mox")


def resolve_cache_dir(cache_dir: str | os.PathLike[str]) -> str:
    """The folder of a cache: `ENV` is what DLS_LOCAL_CACHE_PATH says, `/cache` without it."""
    text = os.fspath(cache_dir)
    return os.environ.get(CACHE_VARIABLE) or _DEFAULT if text == "ENV" else text


class LocalCache:
    """Copies of remote data in a local folder.

    All data sets and processes that name the same folder share its entries and its limit. The entry
    that was used longest ago goes first. A disk that is full, or cannot be written, costs a
    warning; the data are then read from where they are.

    Args:
        folder: a local folder; `ENV`: what DLS_LOCAL_CACHE_PATH says.
        owner: what the entries belong to, such as the data set's folder, for `remove`.
        limit: bytes that all entries in the folder may have. None: MOX_DATA_CACHE_BYTES, else four
            fifths of the disk space that is free or used by the cache.
        remove_on_exit: remove the owner's entries when the last process that uses them ends.

    Raises:
        DataError: the folder cannot be made.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        owner: str,
        *,
        limit: int | None = None,
        remove_on_exit: bool = False,
    ) -> None:
        self._root = os.path.join(resolve_cache_dir(folder), "mox-data")
        digest = hashlib.sha256(owner.rstrip("/").encode()).hexdigest()[:16]
        self.folder = os.path.join(self._root, digest)
        self._locks = os.path.join(self._root, "locks")
        self._counter = os.path.join(self._root, "bytes")
        self._warned = False
        self._begin()
        self._users = -1
        self._users_pid = 0
        try:
            os.makedirs(self._locks, exist_ok=True)
            self._count()
        except OSError as error:
            raise DataError(
                f"cannot make the cache {self._root}: {error.strerror}.\n"
                f"  Give another cache_dir, or set {CACHE_VARIABLE} if it is 'ENV'."
            ) from None
        self.limit = self._limit() if limit is None else limit
        self._use()
        if remove_on_exit:
            pid = os.getpid()
            atexit.register(lambda: self.remove() if os.getpid() == pid else None)

    def read(
        self,
        key: str,
        version: str,
        fetch: Callable[[], bytes],
        *,
        start: int = 0,
        length: int | None = None,
    ) -> bytes:
        """Reads a copy, which is made first when there is none.

        Args:
            key: what it is a copy of: a URL, or a part of one.
            version: a word that changes with the content.
            fetch: reads the original.
            start: first byte to return.
            length: how many to return; None: all.
        """
        digest = hashlib.sha256(f"{version}\0{key}".encode()).hexdigest()
        path = os.path.join(self.folder, digest[:2], digest)
        data = self._copy(path, start, length)
        if data is not None:
            return data
        with self._locked(digest[:2]):  # one thread of one process fetches
            data = self._copy(path, start, length)
            if data is not None:
                return data
            content = fetch()
            self._keep(path, content)
        return content if not start and length is None else content[start:][:length]

    def remove(self) -> bool:
        """Removes the owner's entries, unless other processes use them; returns whether it did."""
        self._leave()
        if not os.path.isdir(self.folder):
            return True
        with self._locked("users-" + os.path.basename(self.folder), wait=False) as alone:
            if not alone:
                return False
            shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._count()
        return True

    # ---- Entries

    def _copy(self, path: str, start: int, length: int | None) -> bytes | None:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # nearly always: there is none
            return None
        try:
            stat = os.fstat(fd)
            size = stat.st_size - start if length is None else length
            data = os.pread(fd, size, start)
            now = time.time()
            if now - stat.st_mtime > _TOUCH_AFTER:
                with contextlib.suppress(OSError):
                    os.utime(fd, (now, now))
            return data
        finally:
            os.close(fd)

    def _keep(self, path: str, content: bytes) -> None:
        if len(content) > self.limit * _KEEP:
            return
        try:
            self._make_room(len(content))
            try:
                whole = WholeFile(path)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                whole = WholeFile(path)
            try:
                write_all(whole.fd, content)
                whole.publish()
            finally:
                whole.discard()
        except OSError as error:
            if not self._warned:
                self._warned = True
                LOG.warning(
                    "the cache %s takes no more (%s); going on without it.",
                    self._root,
                    error.strerror or error,
                )

    # ---- The limit

    def _limit(self) -> int:
        text = os.environ.get(_SIZE_VARIABLE, "")
        if text:
            if not text.isdigit():
                raise DataError(f"{_SIZE_VARIABLE} must be a number of bytes, not {text!r}.")
            return int(text)
        return int((shutil.disk_usage(self._root).free + self._bytes()) * _OF_FREE)

    def _bytes(self) -> int:
        with (
            contextlib.suppress(OSError, ValueError),
            open(self._counter, encoding="ascii") as file,
        ):
            return int(file.read())
        return 0

    def _begin(self) -> None:
        self._room = 0  # bytes that are counted already, for entries to come
        self._room_lock = threading.Lock()
        self._room_pid = os.getpid()

    def _make_room(self, size: int) -> None:
        """Takes room for an entry, after removing old ones when there is none left."""
        if self._room_pid != os.getpid():
            self._begin()  # after a fork: the room and the lock are the parent's
        with self._room_lock:
            if self._room < size:
                step = max(size, self.limit // _RESERVED)
                with self._locked("bytes"):
                    total = self._bytes() + step
                    if total > self.limit:
                        total = self._evict(int(self.limit * _KEEP) - step) + step
                    self._write_count(total)
                self._room += step
            self._room -= size

    def _count(self) -> None:
        with self._locked("bytes"):
            self._write_count(sum(size for _, size, _ in self._entries()))

    def _write_count(self, total: int) -> None:
        with open(self._counter, "w", encoding="ascii") as file:
            file.write(str(total))

    def _evict(self, target: int) -> int:
        """Removes what was used longest ago until `target` bytes are left; returns how many are."""
        entries = sorted(self._entries())
        total = sum(size for _, size, _ in entries)
        for _, size, path in entries:
            if total <= target:
                break
            with contextlib.suppress(OSError):
                os.unlink(path)
                total -= size
        return total

    def _entries(self) -> Iterator[tuple[float, int, str]]:
        """Time of last use, size and path of all entries of all owners."""
        for folder, _, names in os.walk(self._root):
            if len(os.path.basename(folder)) != 2:
                continue
            for name in names:
                path = os.path.join(folder, name)
                with contextlib.suppress(OSError):
                    stat = os.stat(path)
                    # What a killed process left half-written: nobody writes for an hour.
                    if name.startswith(".mox-") and time.time() - stat.st_mtime > 3600:
                        os.unlink(path)
                        continue
                    yield stat.st_mtime, stat.st_size, path

    # ---- Locks

    def _use(self) -> None:
        """Says that this process uses the owner's entries."""
        self._users = self._lock_file("users-" + os.path.basename(self.folder))
        self._users_pid = os.getpid()
        if self._users >= 0:
            fcntl.flock(self._users, fcntl.LOCK_SH)

    def _leave(self) -> None:
        if self._users >= 0 and self._users_pid == os.getpid():
            os.close(self._users)
            self._users = -1

    @contextlib.contextmanager
    def _locked(self, name: str, *, wait: bool = True) -> Iterator[bool]:
        """Holds a lock; yields whether it was to be had.

        Where there can be no lock, because somebody removed the folder or the disk is gone, the
        cache goes on without: at worst it fetches twice.
        """
        fd = self._lock_file(name)
        try:
            if fd >= 0:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                except BlockingIOError:
                    yield False
                    return
            yield True
        finally:
            if fd >= 0:
                os.close(fd)

    def _lock_file(self, name: str) -> int:
        path = os.path.join(self._locks, name)
        for _ in range(2):
            try:
                return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except FileNotFoundError:
                with contextlib.suppress(OSError):
                    os.makedirs(self._locks, exist_ok=True)
            except OSError:
                break
        return -1

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_users": -1, "_users_pid": 0, "_room_lock": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._begin()
        self._use()
