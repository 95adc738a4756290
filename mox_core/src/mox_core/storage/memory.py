"""The `memory` driver: an object store inside this process, for tests and as the reference."""

from __future__ import annotations

import hashlib
import os
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mox_core.storage.driver import Body, Capabilities, Driver, FileSlice, ObjectInfo, Sink
from mox_core.storage.errors import ChangedError, MoxFileNotExistsException

if TYPE_CHECKING:
    from mox_core.storage.auth import Settings

__all__ = ["MemoryDriver", "MemoryStore"]

CHUNK = 1 << 20


class _Object(NamedTuple):
    data: bytes
    info: ObjectInfo


class MemoryStore:
    """The objects and the open uploads. Every bucket name is a bucket."""

    def __init__(self) -> None:
        self.objects: dict[str, _Object] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.lock = threading.RLock()

    def reset_lock(self) -> None:
        """After a fork: the thread that held the lock does not exist here."""
        self.lock = threading.RLock()


SHARED = MemoryStore()
os.register_at_fork(after_in_child=SHARED.reset_lock)


def _bytes(body: Body) -> bytes:
    return body.read_all() if isinstance(body, FileSlice) else bytes(body)


class MemoryDriver(Driver):
    """Keeps objects in a MemoryStore; all drivers of a process share one unless told otherwise.

    Args:
        scheme: the URL scheme.
        settings: `list_max_keys` is the page size of listings.
        store: where the objects are.
    """

    capabilities = Capabilities(
        multipart=True, min_part_size=1 << 16, part_copy=True, append=True, conditional_put=True,
        server_copy=True,
    )  # fmt: skip

    def __init__(self, scheme: str, settings: Settings, *, store: MemoryStore = SHARED) -> None:
        super().__init__(scheme, settings)
        self.store = store

    def stat(self, path: str) -> ObjectInfo:
        """Describes one object."""
        return self._get(path).info

    def list(
        self, prefix: str, *, recursive: bool, limit: int = 0
    ) -> Iterator[Sequence[ObjectInfo]]:
        """Lists in the order of the keys, `list_max_keys` at a time."""
        with self.store.lock:
            keys = sorted(path for path in self.store.objects if path.startswith(prefix))
        size = min(self.settings.list_max_keys or 1000, limit or 1000)
        page: list[ObjectInfo] = []
        last = ""
        count = 0
        for key in keys:
            cut = -1 if recursive else key.find("/", len(prefix))
            if cut >= 0:
                if key[: cut + 1] == last:
                    continue
                last = key[: cut + 1]
                page.append(ObjectInfo(last))
            else:
                found = self.store.objects.get(key)
                if found is None:
                    continue
                page.append(found.info)
            count += 1
            if limit and count >= limit:
                break
            if len(page) >= size:
                yield page
                page = []
        if page:
            yield page

    def fetch(
        self,
        path: str,
        sink: Sink,
        *,
        start: int = 0,
        length: int | None = None,
        etag: str = "",
    ) -> ObjectInfo:
        """Reads a range of an object."""
        data, info = self._get(path)
        if etag and etag != info.etag:
            raise ChangedError(f"{self.url(path)} was changed while it was being read")
        sink.begin(info)
        end = len(data) if length is None else min(len(data), start + length)
        view = memoryview(data)
        for at in range(start, end, CHUNK):
            sink.write(view[at : min(end, at + CHUNK)])
        return info

    def put(
        self, path: str, body: Body, *, if_match: str = "", if_absent: bool = False
    ) -> ObjectInfo:
        """Stores an object."""
        return self._store(path, _bytes(body), if_match=if_match, if_absent=if_absent)

    def delete_many(self, paths: Sequence[str]) -> Iterable[tuple[str, Exception]]:
        """Deletes objects."""
        with self.store.lock:
            for path in paths:
                self.store.objects.pop(path, None)
        return ()

    def copy(self, source: str, target: str, *, etag: str = "") -> ObjectInfo:
        """Copies an object."""
        data, info = self._get(source)
        if etag and etag != info.etag:
            raise ChangedError(f"{self.url(source)} was changed before it was copied")
        return info if source == target else self._store(target, data)

    def begin_upload(self, path: str) -> str:
        """Begins an upload."""
        upload = uuid.uuid4().hex
        self.store.uploads[upload] = {}
        return upload

    def upload_part(self, path: str, upload: str, number: int, body: Body) -> str:
        """Keeps a part."""
        data = _bytes(body)
        self._parts(path, upload)[number] = data
        return hashlib.md5(data, usedforsecurity=False).hexdigest()

    def copy_part(
        self,
        path: str,
        upload: str,
        number: int,
        source: str,
        *,
        start: int,
        length: int,
        etag: str = "",
    ) -> str:
        """Keeps a part of another object."""
        data, info = self._get(source)
        if etag and etag != info.etag:
            raise ChangedError(f"{self.url(source)} was changed before it was copied")
        return self.upload_part(path, upload, number, data[start : start + length])

    def complete_upload(self, path: str, upload: str, parts: Sequence[str]) -> ObjectInfo:
        """Joins the parts."""
        kept = self._parts(path, upload)
        info = self._store(
            path, b"".join(kept[number + 1] for number in range(len(parts))), parts=len(parts)
        )
        del self.store.uploads[upload]
        return info

    def abort_upload(self, path: str, upload: str) -> None:
        """Forgets an upload."""
        self.store.uploads.pop(upload, None)

    def append(self, path: str, body: Body, *, position: int) -> int:
        """Adds to the end of an object."""
        with self.store.lock:
            old = self.store.objects.get(path)
            data = old.data if old else b""
            if len(data) != position:
                raise ChangedError(f"{self.url(path)} does not have {position} bytes any more")
            return self._store(path, data + _bytes(body)).size

    def close(self) -> None:
        """There is nothing to give back."""

    def _get(self, path: str) -> _Object:
        found = self.store.objects.get(path)
        if found is None:
            raise MoxFileNotExistsException(f"there is no file {self.url(path)}")
        return found

    def _parts(self, path: str, upload: str) -> dict[int, bytes]:
        if upload not in self.store.uploads:
            raise MoxFileNotExistsException(f"there is no upload {upload} of {self.url(path)}")
        return self.store.uploads[upload]

    def _store(
        self, path: str, data: bytes, *, if_match: str = "", if_absent: bool = False, parts: int = 0
    ) -> ObjectInfo:
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
        with self.store.lock:
            old = self.store.objects.get(path)
            if (if_absent and old) or (if_match and (old is None or old.info.etag != if_match)):
                raise ChangedError(f"{self.url(path)} was changed by somebody else")
            etag = f"{digest}-{parts}" if parts else digest
            info = ObjectInfo(path, len(data), time.time_ns(), etag, f"md5:{digest}")
            self.store.objects[path] = _Object(data, info)
        return info
