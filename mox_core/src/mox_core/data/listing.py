"""The files of a data set, with what a listing says about them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mox_core.errors import DataError
from mox_core.storage.tree import missing
from mox_core.storage.urls import locate

__all__ = [
    "IMAGE_EXTENSIONS",
    "Listed",
    "examples",
    "folder_path",
    "is_hidden",
    "is_image",
    "list_files",
]

IMAGE_EXTENSIONS = frozenset(
    {".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)


class Listed(NamedTuple):
    """A file of a folder.

    Args:
        name: its path under the folder; that of a folder ends in `/`.
        size: in bytes.
        version: a word that changes when the content does.
    """

    name: str
    size: int
    version: str


def folder_path(folder: str | os.PathLike[str], argument: str) -> str:
    """The path or URL of a folder without a slash at its end.

    Args:
        folder: local path or URL.
        argument: what the caller's argument is called.

    Raises:
        DataError: it is something else, such as the None of a flag that was not given.
    """
    try:
        path = os.fspath(folder)
    except TypeError:
        path = None
    if not path or not isinstance(path, str):
        raise DataError(
            f"{argument} is {folder!r}: give the folder of the data set, a path or a URL.\n"
            "  Does it come from a flag, such as --data_url, that was not given?"
        )
    return path.rstrip("/") or "/"


def list_files(folder: str, *, recursive: bool = True) -> Iterator[Listed]:
    """Yields files and folders below a folder, in no order.

    Args:
        folder: local path or URL.
        recursive: all levels; else one.

    Raises:
        MoxFileNotExistsException: there is no such folder.
    """
    location = locate(folder)
    some = False
    start = len(location.directory)
    for page in location.driver.list(location.directory, recursive=recursive):
        for info in page:
            some = True
            if len(info.path) > start:
                version = info.etag or f"{info.mtime_ns:x}"
                yield Listed(info.path[start:], info.size, version)
    if not some:
        raise missing(location, "directory")


def is_hidden(name: str) -> bool:
    """Whether a part of the path begins with a dot, or is rubbish of macOS's archives."""
    return name.startswith((".", "__MACOSX/")) or "/." in name


def is_image(name: str) -> bool:
    """Whether the name says that this is an image."""
    dot = name.rfind(".")
    return dot > 0 and name[dot:].lower() in IMAGE_EXTENSIONS and not is_hidden(name)


def examples(names: Iterable[str], most: int = 3) -> str:
    """Some of the names, for a message."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more
