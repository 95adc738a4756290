"""What a copy of a directory will do, decided before the first byte is written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence

from mox_core.storage import transfer, tree
from mox_core.storage.copying import Job
from mox_core.storage.driver import ObjectInfo
from mox_core.storage.errors import (
    MoxFileNameDuplicateException,
    MoxFileRespException,
)
from mox_core.storage.urls import Location, is_remote, join, split

__all__ = ["check_disjoint", "jobs_for", "listed_jobs"]

Select = Callable[[str, ObjectInfo], bool]


def check_disjoint(source: Location, target: Location) -> bool:
    """Tells whether two directories are different ones.

    Raises:
        MoxFileRespException: the target lies inside the source; the copy would never end.
    """
    if source.driver is not target.driver:
        return True
    one, other = source.directory, target.directory
    if source.is_local:
        one, other = (join(os.path.realpath(path), "") for path in (one, other))
    if one == other:
        return False
    if other.startswith(one):
        raise MoxFileRespException(
            f"cannot copy {source.url} into {target.url}, which lies inside it. "
            "Choose a destination outside the source."
        )
    return True


def listed_jobs(
    source: Location, target: Location, *, names: Sequence[str] | None, select: Select | None = None
) -> Iterator[Job]:
    """The files and directories of a copy, as the listing of the source brings them.

    Directories end in `/`; `select` is asked about the source itself, too, as `""`. The names of
    `file_list` may be relative to the source or start with it.

    Raises:
        MoxFileNotExistsException: there is no such source directory.
    """
    folder = source.directory
    goal = target.directory
    if names is not None:
        for name in names:
            for info in _named(source, name):
                rel = info.path[len(folder) :]
                yield Job(info.path, goal + rel, info if info.size or info.etag else None)
        return
    some = False
    for page in source.driver.list(folder, recursive=True):
        for info in page:
            some = True
            rel = info.path[len(folder) :]
            if (select is None or select(rel, info)) and rel:
                yield Job(info.path, goal + rel, info)
    if not some and not source.is_bucket:
        raise tree.missing(source, "directory")


def _named(source: Location, name: str) -> Iterable[ObjectInfo]:
    """The files that one entry of file_list stands for: itself, or all below a directory."""
    rel = os.fspath(name)
    if is_remote(rel) or rel.startswith("/"):
        _, path = split(rel)
        if not path.startswith(source.directory):
            raise MoxFileRespException(
                f"file_list names {rel}, which is not below {source.url}. "
                "Names are relative to the source."
            )
        rel = path[len(source.directory) :]
    rel = rel.removeprefix("./")
    if ".." in rel.split("/"):
        raise MoxFileRespException(f"file_list names {rel}, which leads out of {source.url}")
    path = source.directory + rel
    if source.is_local:
        is_dir = os.path.isdir(path)
    else:
        is_dir = path.endswith("/") or (
            transfer.find(source.driver, path) is None and tree.is_directory(source.at(path))
        )
    if not is_dir:
        return [ObjectInfo(path)]
    pages = source.driver.list(join(path, ""), recursive=True)
    return (info for page in pages for info in page)


def jobs_for(
    jobs: Iterable[Job], target: Location, *, make_folder: Callable[[str], None]
) -> Iterator[Job]:
    """The files to copy, after every name was checked where the target has real directories.

    Directories are made (or, as markers, copied) on the way: an empty one must not get lost.

    Raises:
        MoxFileNameDuplicateException: a file and a directory would have one name.
        MoxFileRespException: a name would lead out of the target.
    """
    if not target.driver.capabilities.directories:
        return _with_markers(jobs, target)
    return iter(_checked(jobs, target, make_folder=make_folder))


def _with_markers(jobs: Iterable[Job], target: Location) -> Iterator[Job]:
    """For object stores: a directory that turns out to hold something needs no marker."""
    empty: set[str] = set()
    for job in jobs:
        if not job.target.endswith("/"):
            yield job
            _discard_parents(job.target, empty)
        elif job.info is not None and job.info.etag:  # a marker object, copied as it is
            yield job
        else:
            _discard_parents(job.target.rstrip("/"), empty)
            empty.add(job.target)
    driver = target.driver
    for folder in empty:
        driver.retry.call(driver.put, folder, b"")


def _discard_parents(path: str, folders: set[str]) -> None:
    """Forgets the directories above a path, up to the first that is not known."""
    parent = path.rpartition("/")[0] + "/"
    while parent in folders:
        folders.discard(parent)
        parent = parent[:-1].rpartition("/")[0] + "/"


def _checked(
    jobs: Iterable[Job], target: Location, *, make_folder: Callable[[str], None]
) -> list[Job]:
    root = target.directory
    files: dict[str, Job] = {}
    folders: set[str] = {root.rstrip("/")}
    clash = ""
    for job in jobs:
        rel = job.target[len(root) :]
        path = _inside(root, rel, job.source, target)
        parent = path if rel.endswith("/") else path.rpartition("/")[0]
        while parent not in folders and len(parent) >= len(root):
            folders.add(parent)
            parent = parent.rpartition("/")[0]
        if not rel.endswith("/"):
            if path in files:
                clash = f"{files[path].source} and {job.source} would both become {path}"
                break
            files[path] = job._replace(target=path)
    for path in folders:
        if path in files:
            clash = f"{path} would be a file and a directory"
    clash = clash or _existing_clash(files, folders, target)
    if clash:
        raise MoxFileNameDuplicateException(
            f"nothing was copied: {clash}. Rename one of them, or leave it out with file_list."
        )
    for folder in sorted(folders):
        make_folder(folder)
    return list(files.values())


def _existing_clash(files: dict[str, Job], folders: set[str], target: Location) -> str:
    """What is at the target already and is of the other kind."""
    driver = target.driver
    if not target.is_local:
        return ""
    if not os.path.lexists(driver.local_path(target.directory.rstrip("/") or "/") or ""):
        return ""
    for folder in folders:
        if folder and os.path.lexists(folder) and not os.path.isdir(folder):
            return f"{folder} exists as a file, but a directory must go there"
    for path in files:
        if os.path.isdir(path):
            return f"{path} exists as a directory, but a file must go there"
    return ""


def _inside(root: str, rel: str, source: str, target: Location) -> str:
    """The path below the root that a key stands for."""
    parts = rel.split("/")
    if rel.startswith("/") or ".." in parts or "\0" in rel:
        raise MoxFileRespException(
            f"nothing was copied: the key {source!r} would be written outside of {target.url}. "
            "Rename the key, or leave it out with file_list."
        )
    return root + "/".join(part for part in parts if part not in ("", "."))
