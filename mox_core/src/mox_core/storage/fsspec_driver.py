"""Any fsspec file system as a driver: `fsspec+PROTOCOL://path`, or `PROTOCOL://` by itself."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import fsspec

from mox_core.storage.driver import Body, Capabilities, Driver, FileSlice, ObjectInfo, Sink
from mox_core.storage.errors import (
    AccessDeniedError,
    ChangedError,
    MoxFileNotExistsException,
    MoxFileRespException,
    TransientError,
)

if TYPE_CHECKING:
    from mox_core.storage.auth import Settings

__all__ = ["FsspecDriver"]

CHUNK = 1 << 20


class FsspecDriver(Driver):
    """Asks an fsspec file system; what it caches of listings is dropped before each question.

    Args:
        scheme: `fsspec+PROTOCOL` or `PROTOCOL`.
        settings: not used; fsspec's own configuration holds.
        options: arguments of the file system.
    """

    capabilities = Capabilities(directories=True, server_copy=True, max_put_size=1 << 62,
                                max_copy_size=1 << 62)  # fmt: skip

    def __init__(self, scheme: str, settings: Settings, **options: Any) -> None:
        super().__init__(scheme, settings)
        self._protocol = scheme.removeprefix("fsspec+")
        self._lock = threading.Lock()
        try:
            self._fs = fsspec.filesystem(self._protocol, **options)
        except (ImportError, ValueError) as error:
            raise MoxFileRespException(
                f"fsspec cannot serve {scheme}://: {error}\n"
                f"  Install the package that it names, or check the protocol {self._protocol!r}."
            ) from error

    def stat(self, path: str) -> ObjectInfo:
        """Describes a file or a directory."""
        with self._errors(path):
            self._fs.invalidate_cache()
            info = self._fs.info(self._native(path))
        if (info["type"] == "directory") != path.endswith("/"):
            raise MoxFileNotExistsException(f"there is no such {_kind(path)}: {self.url(path)}")
        return self._info(path, info)

    def list(
        self, prefix: str, *, recursive: bool, limit: int = 0
    ) -> Iterator[Sequence[ObjectInfo]]:
        """Lists a directory, which comes first, then the levels below it."""
        try:
            yield [self.stat(prefix)] if prefix else []
        except MoxFileNotExistsException:
            return
        folders = [prefix]
        count = 1
        while folders and not 0 < limit <= count:
            folder = folders.pop()
            with self._errors(folder):
                self._fs.invalidate_cache()
                entries = self._fs.ls(self._native(folder), detail=True)
            page = []
            for info in entries:
                name = info["name"].rstrip("/").rpartition("/")[2]
                is_dir = info["type"] == "directory"
                if info["name"].rstrip("/") == self._native(folder):
                    continue
                path = f"{folder}{name}/" if is_dir else f"{folder}{name}"
                page.append(self._info(path, info))
                if is_dir and recursive:
                    folders.append(path)
            count += len(page)
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
        """Reads a range, a mebibyte at a time."""
        info = self.stat(path)
        if etag and info.etag and info.etag != etag:
            raise ChangedError(f"{self.url(path)} was changed while it was being read")
        sink.begin(info)
        end = info.size if length is None else min(info.size, start + length)
        while start < end:
            with self._errors(path):
                data = self._fs.cat_file(
                    self._native(path), start=start, end=min(end, start + CHUNK)
                )
            if not data:
                raise TransientError(f"{self.url(path)} ended early")
            sink.write(memoryview(data))
            start += len(data)
        return info

    def put(
        self, path: str, body: Body, *, if_match: str = "", if_absent: bool = False
    ) -> ObjectInfo:
        """Writes a file; how atomically is up to the file system."""
        with self._errors(path):
            if path.endswith("/"):
                self._fs.makedirs(self._native(path), exist_ok=True)
                return ObjectInfo(path)
            parent = self._native(path).rpartition("/")[0]
            if parent:
                self._fs.makedirs(parent, exist_ok=True)
            if isinstance(body, FileSlice):
                with self._fs.open(self._native(path), "wb") as out, body.open() as source:
                    while chunk := source.read(CHUNK):
                        out.write(chunk)
            else:
                self._fs.pipe_file(self._native(path), bytes(body))
        info = self.stat(path)
        if info.size != len(body):
            raise TransientError(
                f"{self.url(path)} has {info.size} bytes after the write, not {len(body)}"
            )
        return info

    def delete_many(self, paths: Sequence[str]) -> Iterable[tuple[str, Exception]]:
        """Deletes files and empty directories."""
        failures: list[tuple[str, Exception]] = []
        for path in paths:
            try:
                with self._errors(path):
                    if path.endswith("/"):
                        self._fs.rmdir(self._native(path))
                    else:
                        self._fs.rm_file(self._native(path))
            except MoxFileNotExistsException:
                pass
            except Exception as error:
                failures.append((path, error))
        return failures

    def copy(self, source: str, target: str, *, etag: str = "") -> ObjectInfo:
        """Copies a file."""
        if source != target:
            with self._errors(source):
                parent = self._native(target).rpartition("/")[0]
                if parent:
                    self._fs.makedirs(parent, exist_ok=True)
                self._fs.cp_file(self._native(source), self._native(target))
        return self.stat(target)

    def close(self) -> None:
        """Fsspec keeps its file systems."""

    def _native(self, path: str) -> str:
        stripped = self._fs._strip_protocol(f"{self._protocol}://{path}")
        return str(stripped).rstrip("/") if stripped != "/" else "/"

    def _info(self, path: str, info: dict[str, Any]) -> ObjectInfo:
        if path.endswith("/"):
            return ObjectInfo(path)
        stamp = next((info[k] for k in ("mtime", "LastModified", "created") if info.get(k)), 0)
        mtime = stamp.timestamp() if isinstance(stamp, datetime.datetime) else stamp
        mtime_ns = int(mtime * 1e9) if isinstance(mtime, (int, float)) else 0
        etag = str(info.get("ETag") or info.get("etag") or "").strip('"')
        size = int(info["size"] or 0)
        return ObjectInfo(path, size, mtime_ns, etag or f"{mtime_ns:x}-{size:x}")

    @contextmanager
    def _errors(self, path: str) -> Iterator[None]:
        try:
            yield
        except MoxFileRespException:
            raise
        except (FileNotFoundError, NotADirectoryError) as error:
            raise MoxFileNotExistsException(
                f"there is no such {_kind(path)}: {self.url(path)}"
            ) from error
        except PermissionError as error:
            raise AccessDeniedError(f"no permission for {self.url(path)}: {error}") from error
        except (ConnectionError, TimeoutError) as error:
            raise TransientError(f"{self.url(path)}: {error}") from error


def _kind(path: str) -> str:
    return "directory" if path.endswith("/") else "file"
