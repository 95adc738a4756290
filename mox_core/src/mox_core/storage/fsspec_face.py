"""mox.file as an fsspec file system: `pandas.read_csv("obs://bucket/table.csv")`."""

from __future__ import annotations

import datetime
import os
from typing import Any

from fsspec.spec import AbstractFileSystem

from mox_core.storage import transfer, tree
from mox_core.storage.driver import ObjectInfo
from mox_core.storage.fileobj import open_file
from mox_core.storage.moving import copy_file
from mox_core.storage.parts import Sizes
from mox_core.storage.urls import Location, locate

__all__ = ["MoxFileSystem", "ObsFileSystem"]


class MoxFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """Serves one URL scheme through mox's driver; keeps no listings.

    Args:
        scheme: the scheme of mox's driver.
        **kwargs: fsspec's own options.
    """

    cachable = True
    scheme = ""

    def __init__(self, scheme: str = "", **kwargs: Any) -> None:
        super().__init__(use_listings_cache=False, **kwargs)
        self.scheme = scheme or self.scheme
        self.protocol = self.scheme

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        text = os.fspath(path)
        if "://" in text:
            text = text.partition("://")[2]
        return text.strip("/") if text.strip("/") else ""

    def unstrip_protocol(self, name: str) -> str:
        """The URL of a path."""
        return f"{self.scheme}://{self._strip_protocol(name)}"

    def _at(self, path: str) -> Location:
        return locate(f"{self.scheme}://{self._strip_protocol(path)}")

    def _details(self, info: ObjectInfo) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "name": info.path.rstrip("/"),
            "size": info.size,
            "type": "directory" if info.is_dir else "file",
        }
        if info.mtime_ns:
            entry["mtime"] = info.mtime_ns / 1e9
        if info.etag:
            entry["ETag"] = info.etag
        return entry

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        """Entries of a directory, or a file by itself."""
        location = self._at(path)
        try:
            found = {info.path: info for info in tree.existing_children(location)}
        except NotADirectoryError:
            found = {location.path: location.driver.retry.call(location.driver.stat, location.path)}
        entries = [self._details(found[path]) for path in sorted(found)]
        return entries if detail else [entry["name"] for entry in entries]

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        """Size, type and time of a file or directory."""
        location = self._at(path)
        if location.path and not location.is_bucket:
            info = transfer.find(location.driver, location.path)
            if info is not None:
                return self._details(info)
        if not tree.is_directory(location):
            raise tree.missing(location)
        return {"name": location.path, "size": 0, "type": "directory"}

    def modified(self, path: str) -> datetime.datetime:
        """Time of the last change, UTC."""
        return datetime.datetime.fromtimestamp(self.info(path)["mtime"], datetime.timezone.utc)

    def mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:
        """Makes a directory."""
        location = self._at(path)
        if not location.is_bucket:
            location.driver.retry.call(location.driver.put, location.directory, b"")

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Makes a directory and its parents."""
        if not exist_ok and tree.is_directory(self._at(path)):
            raise FileExistsError(17, "File exists", path)
        self.mkdir(path)

    def rmdir(self, path: str) -> None:
        """Removes an empty directory."""
        location = self._at(path)
        if any(True for _ in tree.existing_children(location)):
            raise OSError(39, "Directory not empty", path)
        if not location.is_bucket:
            tree.delete(location.driver, [location.directory])

    def _rm(self, path: str) -> None:
        location = self._at(path)
        name = location.path if tree.is_file(location) else location.directory
        tree.delete(location.driver, [name])

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Removes files, or with `recursive` whole directories."""
        for each in self.expand_path(path, recursive=False):
            location = self._at(each)
            if tree.is_file(location):
                tree.delete(location.driver, [location.path])
            elif not recursive:
                self.rmdir(each)
            else:
                tree.delete_directory(location.driver, location.directory)

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        """Copies a file within the store; a directory becomes an empty directory."""
        source = self._at(path1)
        if self.isdir(path1):
            self.mkdir(path2)
            return
        target = self._at(path2)
        info = source.driver.retry.call(source.driver.stat, source.path)
        if info.size <= source.driver.capabilities.max_copy_size:
            source.driver.retry.call(source.driver.copy, source.path, target.path, etag=info.etag)
        else:
            copy_file(source, target)

    def get_file(self, rpath: str, lpath: Any, **kwargs: Any) -> None:
        """Downloads a file, under a temporary name until it is complete."""
        if hasattr(lpath, "write"):
            super().get_file(rpath, lpath, **kwargs)
        elif self.isdir(rpath):
            os.makedirs(lpath, exist_ok=True)
        else:
            copy_file(self._at(rpath), locate(os.fspath(lpath)))

    def put_file(self, lpath: str, rpath: str, mode: str = "overwrite", **kwargs: Any) -> None:
        """Uploads a file."""
        if os.path.isdir(lpath):
            self.makedirs(rpath, exist_ok=True)
            return
        if mode == "create" and self.exists(rpath):
            raise FileExistsError(17, "File exists", rpath)
        source, target = locate(os.fspath(lpath)), self._at(rpath)
        if os.path.getsize(lpath) > Sizes.from_environment().whole:
            copy_file(source, target)
            return
        with open(lpath, "rb") as file:
            self.pipe_file(rpath, file.read())

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        """Writes a whole file."""
        location = self._at(path)
        if mode == "create" and self.exists(path):
            raise FileExistsError(17, "File exists", path)
        driver = location.driver
        driver.retry.call(driver.put, location.path, bytes(value), size=len(value))

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any
    ) -> bytes:
        """Reads a file, or a range of it; negative positions count from the end."""
        location = self._at(path)
        if start is None and end is None:
            return transfer.read(location.driver, location.path)[0]
        if (start or 0) < 0 or (end or 0) < 0:
            size = self.info(path)["size"]
            start = max(0, size + start) if start and start < 0 else start
            end = size + end if end and end < 0 else end
        begin = start or 0
        length = None if end is None else max(0, end - begin)
        return transfer.read(location.driver, location.path, start=begin, length=length)[0]

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: Any = None,
        autocommit: bool = True,
        cache_options: Any = None,
        **kwargs: Any,
    ) -> Any:
        location = self._at(path)
        if "x" in mode:
            if self.exists(path):
                raise FileExistsError(17, "File exists", path)
            mode = mode.replace("x", "w")
        return open_file(location.url, mode)


class ObsFileSystem(MoxFileSystem):
    """`obs://` for fsspec."""

    protocol = "obs"
    scheme = "obs"
