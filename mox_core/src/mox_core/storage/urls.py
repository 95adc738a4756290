"""URLs: which driver, which path, and the same spelling back to the user."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from mox_core.errors import MoxError
from mox_core.storage.driver import Driver
from mox_core.storage.registry import DRIVERS

__all__ = ["Location", "UrlError", "is_remote", "join", "locate", "relative", "split"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://")
_SLASHES = re.compile("//+")
_ONE_SLASH = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]+:)/+(.*)", re.DOTALL)


class UrlError(MoxError, ValueError):
    """A URL that names nothing."""


class Location(NamedTuple):
    """A path and the driver that serves it.

    Attributes:
        driver: serves the path.
        path: what the driver understands; ends in `/` when the user wrote it so.
        prefix: what stands before the path in the user's URL, such as `obs://`.
    """

    driver: Driver
    path: str
    prefix: str

    @property
    def url(self) -> str:
        """The URL, with the scheme that the user wrote."""
        return self.prefix + self.path

    @property
    def is_local(self) -> bool:
        """Whether this is a file of this machine."""
        return self.driver.local_path("/") is not None

    @property
    def directory(self) -> str:
        """The path as a directory: with one `/` at the end (the empty path stays empty)."""
        return self.path if not self.path or self.path.endswith("/") else self.path + "/"

    @property
    def name(self) -> str:
        """The last component."""
        return self.path.rstrip("/").rpartition("/")[2]

    @property
    def is_bucket(self) -> bool:
        """Whether this is a bucket, or the list of all buckets, of a store without directories."""
        return not self.driver.capabilities.directories and "/" not in self.path.rstrip("/")

    def at(self, path: str) -> Location:
        """Another path of the same store."""
        return self._replace(path=path)


def split(url: str | os.PathLike[str]) -> tuple[str, str]:
    """Splits a URL into its scheme ('' for a local path) and the rest.

    Raises:
        UrlError: it is not a text, is empty, holds a NUL, or was meant to be a URL.
    """
    text = os.fspath(url)
    if not isinstance(text, str):
        raise UrlError(f"a path must be a text, not {type(text).__name__}: {text!r}")
    if not text or "\0" in text:
        raise UrlError(f"{text!r} names no file: give a path or a URL such as s3://bucket/key")
    match = _SCHEME.match(text)
    if match is None:
        short = _ONE_SLASH.fullmatch(text)
        if short is not None and not os.path.exists(short[1]):
            raise UrlError(
                f"{text} has one slash too few for a URL\n"
                f"  Write {short[1]}//{short[2]}, or ./{text} for a file below a folder {short[1]}"
            )
        return "", text
    return match[1].lower(), text[match.end() :]


def is_remote(url: object) -> bool:
    """Whether this names something that is not on this machine's file system."""
    if isinstance(url, os.PathLike):
        url = os.fspath(url)
    if not isinstance(url, str):
        return False
    match = _SCHEME.match(url)
    return match is not None and match[1].lower() != "file"


def locate(url: str | os.PathLike[str]) -> Location:
    """Finds the driver and the path of a URL; doubled slashes of a key become one.

    Raises:
        UrlError: the URL names nothing.
        PluginError: no driver serves it.
    """
    scheme, path = split(url)
    if not scheme:
        return Location(DRIVERS.get("file"), path, "")
    if scheme == "file":
        if not path.startswith("/"):
            raise UrlError(f"file://{path} is not absolute: write file:///{path}")
        return Location(DRIVERS.get("file"), path, "file://")
    driver = DRIVERS.get(scheme)
    if not driver.capabilities.directories:
        if path.startswith("/"):
            raise UrlError(f"{scheme}://{path} names no bucket: write {scheme}://bucket/key")
        if "//" in path:
            path = _SLASHES.sub("/", path)
    return Location(driver, path, f"{scheme}://")


def join(folder: str, name: str) -> str:
    """Puts a relative name under a directory path, without looking at dots."""
    return f"{folder}{name}" if not folder or folder.endswith("/") else f"{folder}/{name}"


def relative(path: str, folder: str) -> str:
    """What is left of a path under a directory path that ends in `/`."""
    return path[len(folder) :]
