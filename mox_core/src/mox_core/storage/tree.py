"""Directories over any driver: what exists, what is in it, removing it.

An object store has no directories, only keys. Here a directory exists when it has a marker object
(`dir/`) or anything below it; a file system's driver lists its real directories in the same way.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import chain, islice
from typing import NamedTuple

from mox_core.storage.driver import Driver, ObjectInfo
from mox_core.storage.errors import CopyError, MoxFileNotExistsException
from mox_core.storage.pool import Pool
from mox_core.storage.transfer import find
from mox_core.storage.urls import Location

__all__ = [
    "DirEntry",
    "FileStat",
    "Scan",
    "children",
    "delete",
    "delete_directory",
    "describe",
    "glob",
    "is_directory",
    "is_file",
    "missing",
    "walk",
]

BATCH = 1000

DELETIONS = 4
"""Batches that are deleted at the same time."""

PASSES = 5
"""How often a directory is listed and emptied before it counts as one that others fill."""


class FileStat(NamedTuple):
    """What `mox.file.stat` tells.

    Attributes:
        length: bytes; 0 for a directory.
        mtime_nsec: time of the last change, nanoseconds since the epoch; 0 when unknown.
        is_directory: whether it is a directory.
    """

    length: int
    mtime_nsec: int
    is_directory: bool

    @property
    def st_size(self) -> int:
        """The length, under os.stat's name."""
        return self.length

    @property
    def st_mtime(self) -> float:
        """Seconds since the epoch, under os.stat's name."""
        return self.mtime_nsec / 1e9

    @property
    def st_mtime_ns(self) -> int:
        """Nanoseconds since the epoch, under os.stat's name."""
        return self.mtime_nsec

    @property
    def st_mode(self) -> int:
        """The file type and permissions that `stat.S_ISDIR` and the like understand."""
        return 0o040777 if self.is_directory else 0o100666


class DirEntry:
    """One entry of `mox.file.scan_dir`, with the methods of `os.DirEntry`; asks nothing again.

    Attributes:
        name: last component.
        path: full URL.
    """

    __slots__ = ("_stat", "name", "path")

    def __init__(self, name: str, path: str, stat: FileStat) -> None:
        self.name = name
        self.path = path
        self._stat = stat

    def __repr__(self) -> str:
        return f"<DirEntry {self.name!r}>"

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether this is a directory."""
        return self._stat.is_directory

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Whether this is a file."""
        return not self._stat.is_directory

    def is_symlink(self) -> bool:
        """Object stores have no links."""
        return False

    def stat(self, *, follow_symlinks: bool = True) -> FileStat:
        """What the listing said."""
        return self._stat

    def __fspath__(self) -> str:
        return self.path


def missing(location: Location, what: str = "file or directory") -> MoxFileNotExistsException:
    """The error for something that is not there."""
    return MoxFileNotExistsException(f"there is no {what} {location.url}")


def is_directory(location: Location) -> bool:
    """Whether anything lives under the path. One request."""
    try:
        for page in location.driver.list(location.directory, recursive=False, limit=1):
            if page:
                return True
    except MoxFileNotExistsException:  # no such bucket
        return False
    return location.is_bucket


def is_file(location: Location) -> bool:
    """Whether there is a file of exactly this name."""
    if location.path.endswith("/") or location.is_bucket:
        return False
    if location.is_local:
        return os.path.exists(location.path) and not os.path.isdir(location.path)
    return find(location.driver, location.path) is not None


def describe(location: Location) -> FileStat | None:
    """What a path is; a file comes before a directory of the same name. None: nothing."""
    if location.path and not location.path.endswith("/") and not location.is_bucket:
        info = find(location.driver, location.path)
        if info is not None:
            return FileStat(info.size, info.mtime_ns, False)
    return FileStat(0, 0, True) if is_directory(location) else None


def children(driver: Driver, folder: str) -> Iterator[ObjectInfo]:
    """The entries of one level, without the directory itself. A name may come twice: `a`, `a/`."""
    for page in driver.list(folder, recursive=False):
        for info in page:
            if info.path != folder:
                yield info


def existing_children(location: Location) -> Iterator[ObjectInfo]:
    """The entries of a directory.

    Raises:
        MoxFileNotExistsException: there is no such directory.
        NotADirectoryError: it is a file.
    """
    some = False
    for page in location.driver.list(location.directory, recursive=False):
        for info in page:
            some = True
            if info.path != location.directory:
                yield info
    if not some and not location.is_bucket:
        if not location.path.endswith("/") and find(location.driver, location.path):
            raise NotADirectoryError(f"{location.url} is a file, not a directory")
        raise missing(location, "directory")


class Scan(Iterator[DirEntry]):
    """The entries of a directory, as they are listed; also a context manager, like os.scandir's.

    Args:
        location: the directory.
    """

    def __init__(self, location: Location) -> None:
        self._entries = _entries(location)

    def __next__(self) -> DirEntry:
        return next(self._entries)

    def close(self) -> None:
        """Ends the listing."""
        self._entries.close()

    def __enter__(self) -> Scan:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _entries(location: Location) -> Generator[DirEntry, None, None]:
    folder = location.directory
    for info in existing_children(location):
        path = info.path.rstrip("/")
        stat = FileStat(info.size, info.mtime_ns, info.is_dir)
        yield DirEntry(path[len(folder) :], location.prefix + path, stat)


def walk(location: Location, *, topdown: bool = True) -> Iterator[tuple[str, list[str], list[str]]]:
    """Like os.walk: (URL, directories, files), sorted; nothing for what is no directory."""
    folder = location.directory
    directories: list[str] = []
    files: list[str] = []
    some = False
    for page in location.driver.list(folder, recursive=False):
        for info in page:
            some = True
            if info.path != folder:
                name = info.path[len(folder) :]
                (directories if info.is_dir else files).append(name.rstrip("/"))
    if not some and not location.is_bucket:
        return
    directories.sort()
    files.sort()
    url = location.url.rstrip("/") if location.path else location.url
    if topdown:
        yield url, directories, files
    for name in directories:
        yield from walk(location.at(f"{folder}{name}"), topdown=topdown)
    if not topdown:
        yield url, directories, files


def delete_directory(
    driver: Driver, folder: str, *, done: Callable[[int], object] = lambda count: None
) -> None:
    """Deletes a directory with everything in it.

    A directory is listed while it is deleted, several batches at a time, and there are servers that
    miss some then: a page is cut by position; a delete that meets the end of another folder is
    answered as done, and is not (`rclone serve s3`). So all is listed again, until what was listed
    was a single batch.

    Args:
        driver: of the store.
        folder: path that ends in `/`.
        done: is told how many were deleted.

    Raises:
        CopyError: some could not be deleted.
        OSError: there are still files after several passes.
    """
    for _ in range(PASSES):
        if delete(driver, under(driver, folder), done=done) <= BATCH:
            return
    why = f"is not empty after {PASSES} passes: files keep coming, or the server keeps them"
    raise OSError(errno.ENOTEMPTY, why, driver.url(folder))


def delete(
    driver: Driver, paths: Iterable[str], *, done: Callable[[int], object] = lambda count: None
) -> int:
    """Deletes files as they come, several batches at a time, and directories last, deepest first.

    Returns:
        How many paths there were.

    Raises:
        CopyError: some could not be deleted; all others were.
    """
    failures: list[tuple[str, str, BaseException]] = []
    refused: list[Exception] = []
    lock = threading.Lock()

    def flush(paths: list[str]) -> None:
        failed = list(retry.call(driver.delete_many, paths))
        with lock:
            failures.extend((driver.url(path), "", error) for path, error in failed)
            done(len(paths) - len(failed))

    def task(paths: list[str]) -> None:
        try:
            if not refused:
                flush(paths)
        except Exception as error:
            refused.append(error)

    directories: list[str] = []
    count = 0
    with Pool(DELETIONS, interrupt=driver.interrupt) as pool:
        retry = driver.retry.until(pool.stop)
        for batch in _batches(paths, directories if driver.capabilities.directories else None):
            if refused:
                break
            count += len(batch)
            if len(batch) < BATCH and not pool.busy:
                task(batch)  # the only one: a thread would cost more than it gains
            else:
                pool.add(functools.partial(task, batch))
    if refused:
        raise refused[0]
    directories.sort(key=len, reverse=True)
    for at in range(0, len(directories), BATCH):
        flush(directories[at : at + BATCH])
    if failures:
        raise CopyError.of("could not remove", failures)
    return count + len(directories)


def _batches(paths: Iterable[str], directories: list[str] | None) -> Iterator[list[str]]:
    """Files by the thousand; directories are put aside where there are real ones."""
    paths = iter(paths)
    while batch := list(islice(paths, BATCH)):
        if directories is not None:
            directories += [path for path in batch if path.endswith("/")]
            batch = [path for path in batch if not path.endswith("/")]
        if batch:
            yield batch


def under(driver: Driver, folder: str) -> Iterator[str]:
    """All paths under a directory, with its marker."""
    pages = driver.list(folder, recursive=True)
    return chain.from_iterable([info.path for info in page] for page in pages)


_MAGIC = re.compile(r"[*?[]")


def _regex(part: str) -> str:
    """One component of a pattern; `*` and `?` stop at `/`, and at a leading dot as in glob."""
    out = []
    at = 0
    while at < len(part):
        char = part[at]
        at += 1
        if char == "*":
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "[":
            end = part.find("]", at + 2 if part[at : at + 1] == "!" else at + 1)
            if end < 0:
                out.append(r"\[")
                continue
            inner = part[at:end].replace("\\", r"\\").replace("[", r"\[")
            at = end + 1
            if inner.startswith("!"):
                inner = "^/" + inner[1:]
            elif inner.startswith("^"):
                inner = "\\" + inner
            out.append(f"[{inner}]")
        else:
            out.append(re.escape(char))
    dot = r"(?!\.)" if part[:1] in ("*", "?", "[") else ""
    return dot + "".join(out)


def glob(location: Location) -> Iterator[str]:
    """The paths that match the location's path, level by level; `**` takes any levels."""
    parts = location.path.split("/")
    fixed = 0
    while fixed < len(parts) and not _MAGIC.search(parts[fixed]):
        fixed += 1
    if fixed == len(parts):
        if describe(location) is not None:
            yield location.path
        return
    folder = "/".join(parts[:fixed]) + "/" if fixed else ""
    yield from _match(location.driver, folder, parts[fixed:])


def _match(driver: Driver, folder: str, parts: list[str]) -> Iterator[str]:
    part, rest = parts[0], parts[1:]
    if part == "**":
        yield from _match_deep(driver, folder, rest)
        return
    if not _MAGIC.search(part) and rest and rest != [""]:
        yield from _match(driver, f"{folder}{part}/", rest)
        return
    pattern = re.compile(_regex(part), re.DOTALL)
    seen: set[str] = set()
    for info in children(driver, folder):
        name = info.path[len(folder) :].rstrip("/")
        if not pattern.fullmatch(name):
            continue
        if not rest:
            if name not in seen:
                seen.add(name)
                yield folder + name
        elif info.is_dir:
            if rest == [""]:
                yield info.path
            else:
                yield from _match(driver, info.path, rest)


def _match_deep(driver: Driver, folder: str, rest: list[str]) -> Iterator[str]:
    """`**`: all levels, without hidden directories, from one recursive listing."""
    only_directories = rest in ([""],)
    tail = "/".join(_regex(part) if part != "**" else "**" for part in rest if part)
    tail = tail.replace("**/", r"(?:(?!\.)[^/]+/)*").replace("/**", r"(?:/(?!\.)[^/]+)*")
    pattern = re.compile(r"(?:(?!\.)[^/]+/)*" + (tail or r"(?:(?!\.)[^/]+)?"), re.DOTALL)
    seen: set[str] = set()
    for page in driver.list(folder, recursive=True):
        for info in page:
            name = info.path[len(folder) :]
            names = [name[: at + 1] for at, char in enumerate(name) if char == "/"]
            if not info.is_dir and not only_directories:
                names.append(name)
            for each in names:
                plain = each.rstrip("/")
                if plain and plain not in seen and pattern.fullmatch(plain):
                    seen.add(plain)
                    yield folder + (each if only_directories else plain)
