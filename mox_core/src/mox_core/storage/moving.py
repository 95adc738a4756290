"""Copying, synchronising and renaming files and whole directories."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

from mox_core._lazy import lazy_logger
from mox_core.storage import transfer, tree
from mox_core.storage.auth import AuthError
from mox_core.storage.copying import Copier, Job, Progress, scratch
from mox_core.storage.driver import FileSlice, ObjectInfo
from mox_core.storage.errors import AccessDeniedError, CopyError
from mox_core.storage.helper import MANY, Helpers
from mox_core.storage.plan import check_disjoint, jobs_for, listed_jobs
from mox_core.storage.pool import Pool
from mox_core.storage.urls import Location, join

__all__ = ["copy_any", "copy_directory", "copy_file", "rename", "sync"]

LOG = lazy_logger("mox.file")

SECOND = 1_000_000_000

FILE_THREADS = 8
"""Parts of one file that are under way together, unless MOX_FILE_LARGE_FILE_TASK_NUM says so."""


def _file_threads() -> int:
    text = os.environ.get("MOX_FILE_LARGE_FILE_TASK_NUM", "")
    if text and (not text.isdecimal() or not int(text)):
        raise AuthError(f"MOX_FILE_LARGE_FILE_TASK_NUM must be a number from 1 on, not {text!r}")
    return int(text or FILE_THREADS)


class _Terminated(BaseException):
    """SIGTERM arrived."""


@contextlib.contextmanager
def _tidy_on_sigterm() -> Iterator[None]:
    """Lets a copy clean up before SIGTERM ends the process; a script's own handler stays."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def stop(*_: object) -> None:
        raise _Terminated

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except _Terminated:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
        raise
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def _copier(
    source: Location,
    target: Location,
    *,
    threads: int,
    progress: Progress | None,
) -> Iterator[tuple[Copier, Helpers]]:
    helpers = Helpers(source.driver, target.driver, threads=threads)

    def interrupt() -> None:
        source.driver.interrupt()
        target.driver.interrupt()
        helpers.hang_up()

    with _tidy_on_sigterm(), helpers, Pool(threads, interrupt=interrupt) as pool:
        copier = Copier(source.driver, target.driver, pool=pool, progress=progress)
        yield copier, helpers
    if copier.failures:
        raise CopyError.of("could not copy", copier.failures)


def file_target(source: Location, target: Location) -> Location:
    """Where a file goes: into an existing directory, or a path that ends in `/`, by its name."""
    into = target.path.endswith("/") or target.is_bucket
    if not into:
        into = os.path.isdir(target.path) if target.is_local else tree.is_directory(target)
    return target.at(join(target.directory, source.name)) if into else target


def copy_file(
    source: Location, target: Location, *, threads: int | None = None,
    progress: Progress | None = None,
) -> None:  # fmt: skip
    """Copies one file.

    Raises:
        IsADirectoryError: the source is a directory.
        MoxFileNotExistsException: there is no such source.
    """
    info: ObjectInfo | None = None
    if source.is_local:
        there = os.path.exists(source.path) and not os.path.isdir(source.path)
    else:
        named = not source.path.endswith("/") and not source.is_bucket
        info = transfer.find(source.driver, source.path) if named else None
        there = info is not None
    if not there:
        if os.path.isdir(source.path) if source.is_local else tree.is_directory(source):
            raise IsADirectoryError(
                f"{source.url} is a directory, and copy takes one file: "
                "use mox.file.copy_parallel(src_url, dst_url)."
            )
        raise tree.missing(source, "file")
    goal = file_target(source, target)
    threads = _file_threads() if threads is None else threads
    try:
        with _copier(source, goal, threads=threads, progress=progress) as (copier, _):
            copier.add(Job(source.path, goal.path, info))
    except CopyError as error:
        raise error.failures[0][2] from None


def copy_directory(
    source: Location,
    target: Location,
    *,
    names: Sequence[str] | None = None,
    threads: int = 16,
    processes: bool = True,
    select: Callable[[str, ObjectInfo], bool] | None = None,
    progress: Progress | None = None,
) -> int:
    """Copies what is in a directory; returns the number of files.

    Raises:
        CopyError: some files failed; all others were copied.
        MoxFileNameDuplicateException: names clash at the target; nothing was copied.
        MoxFileNotExistsException: there is no such directory.
    """
    if not check_disjoint(source, target):
        return 0
    if not target.is_local:
        _knock(target)
    count = 0
    with _copier(source, target, threads=threads, progress=progress) as (copier, helpers):

        def make_folder(path: str) -> None:
            if target.is_local:
                copier.folder(path)
            else:
                target.driver.retry.call(target.driver.put, path + "/", b"")

        jobs = listed_jobs(source, target, names=names, select=select)
        if processes:
            jobs = _watched(jobs, MANY, lambda: helpers.start(copier))
        for job in jobs_for(jobs, target, make_folder=make_folder):
            copier.add(job)
            count += 1
    if not count:
        LOG.info("No files to copy from %s", source.url)
    return count


def _watched(jobs: Iterable[Job], number: int, reached: Callable[[], object]) -> Iterator[Job]:
    """Passes jobs on, and tells when there were so many."""
    for count, job in enumerate(jobs, 1):
        if count == number:
            reached()
        yield job


def _knock(target: Location) -> None:
    """Asks the target once: a dead endpoint or a missing bucket is one error, not thousands."""
    with contextlib.suppress(AccessDeniedError):  # who may write may not be allowed to list
        for _ in target.driver.list(target.directory, recursive=False, limit=1):
            break


def copy_any(
    source: Location,
    target: Location,
    *,
    names: Sequence[str] | None = None,
    threads: int = 16,
    processes: bool = True,
    progress: Progress | None = None,
) -> None:
    """Copies a directory, or a single file; a directory of the same name comes first."""
    single = names is None and tree.is_file(source)
    if single and (source.is_local or not tree.is_directory(source)):
        copy_file(source, target, threads=threads, progress=progress)
        return
    copy_directory(
        source, target, names=names, threads=threads, processes=processes, progress=progress
    )


def sync(
    source: Location,
    target: Location,
    *,
    delete: bool = False,
    threads: int = 16,
    progress: Progress | None = None,
) -> tuple[int, int]:
    """Copies the files that are missing, of another size, or older at the target.

    A store may keep whole seconds and so say a time before that of the file it was given. Files of
    one second are told apart by their content, where the store vouches for an MD5.

    Args:
        source: a directory.
        target: a directory, made when missing.
        delete: whether to remove what the source does not have.
        threads: how many files at a time.
        progress: is told what was copied.

    Returns:
        Number of files copied, and number removed.
    """
    folder = target.directory
    there: dict[str, ObjectInfo] = {}
    for page in target.driver.list(folder, recursive=True):
        for info in page:
            there[info.path[len(folder) :]] = info
    folders = _parents(there)
    kept: set[str] = set()

    def select(rel: str, info: ObjectInfo) -> bool:
        kept.add(rel)
        if rel.endswith("/"):
            return rel not in there and rel not in folders
        old = there.get(rel)
        if old is None or old.size != info.size:
            return True
        if old.mtime_ns >= info.mtime_ns:
            return False
        same_second = old.mtime_ns == info.mtime_ns // SECOND * SECOND
        return not (same_second and source.is_local and _is_md5_of(info.path, old.etag))

    copied = copy_directory(source, target, threads=threads, select=select, progress=progress)
    gone = []
    if delete:
        parents = _parents(kept)
        gone = [folder + rel for rel in there if rel and rel not in kept and rel not in parents]
        tree.delete(target.driver, gone)
    return copied, len(gone)


def _is_md5_of(file: str, etag: str) -> bool:
    """Whether an ETag is the MD5 of a local file."""
    if len(etag) != 32:
        return False
    try:
        with open(file, "rb") as stream:
            fd = stream.fileno()
            return FileSlice(fd, 0, os.fstat(fd).st_size).digest("md5").hex() == etag
    except OSError:  # the copy will say what is wrong
        return False


def _parents(paths: Iterable[str]) -> set[str]:
    """All directories, each ending in `/`, in which the paths lie."""
    found: set[str] = set()
    for path in paths:
        at = path.rfind("/", 0, -1)
        while at >= 0 and path[: at + 1] not in found:
            found.add(path[: at + 1])
            at = path.rfind("/", 0, at)
    return found


def rename(source: Location, target: Location) -> None:
    """Moves a file or a directory, between any two stores; the source goes last.

    Raises:
        MoxFileNotExistsException: there is no such source.
        OSError: the target is a directory that is not empty, or lies inside the source.
    """
    a_file = tree.is_file(source)
    if not a_file and not (
        os.path.isdir(source.path) if source.is_local else tree.is_directory(source)
    ):
        raise tree.missing(source)
    if source.driver is target.driver and source.directory == target.directory:
        return
    if a_file:
        _check_file_target(target)
        if _moved(source.driver, source, target, source.path, target.path):
            return
        copy_file(source, target)
        tree.delete(source.driver, [source.path])
        return
    check_disjoint(source, target)
    _check_directory_target(target)
    if _moved(source.driver, source, target, source.directory, target.directory):
        return
    if source.is_local:
        import shutil

        copy_directory(source, target)
        shutil.rmtree(source.path)
        return
    import json
    import tempfile

    # What was copied goes, and not what came meanwhile; there may be millions of names.
    with tempfile.SpooledTemporaryFile(8 << 20, "w+", dir=scratch()) as copied:

        def note(_: str, info: ObjectInfo) -> bool:
            copied.write(f"{json.dumps(info.path)}\n")
            return True

        copy_directory(source, target, select=note)
        copied.seek(0)
        tree.delete(source.driver, map(json.loads, copied))


def _moved(driver: object, source: Location, target: Location, old: str, new: str) -> bool:
    """Renames inside the store, where it can; else tells that somebody must copy."""
    if source.driver is not target.driver or not source.driver.capabilities.move:
        return False
    if target.is_local:
        os.makedirs(os.path.dirname(new.rstrip("/")) or ".", exist_ok=True)
    try:
        source.driver.retry.call(source.driver.move, old, new)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    return True


def _check_file_target(target: Location) -> None:
    if (
        target.path.endswith("/")
        or target.is_bucket
        or (os.path.isdir(target.path) if target.is_local else tree.is_directory(target))
    ):
        raise IsADirectoryError(errno.EISDIR, "is a directory: name the file inside it", target.url)


def _check_directory_target(target: Location) -> None:
    if tree.is_file(target):
        raise NotADirectoryError(errno.ENOTDIR, "is a file", target.url)
    folder = target.directory
    if any(True for _ in tree.children(target.driver, folder)):
        raise OSError(errno.ENOTEMPTY, "is a directory that is not empty", target.url)
