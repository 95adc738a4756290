"""Copying files between any two stores, large ones in parts, each verified and published whole."""

from __future__ import annotations

import errno
import functools
import os
import stat as stat_module
import threading
from collections.abc import Callable
from typing import NamedTuple, Protocol

from mox_core.storage import transfer
from mox_core.storage.driver import Body, Driver, FileSlice, ObjectInfo, Piped
from mox_core.storage.errors import (
    ChangedError,
    MoxFileReadException,
    MoxFileRespException,
    TransientError,
    UnsupportedError,
)
from mox_core.storage.local import WholeFile, copy_range
from mox_core.storage.parts import InOrder, Sizes
from mox_core.storage.pool import Pool
from mox_core.storage.retry import Stopped

__all__ = ["Copier", "Job", "Progress", "Whole", "scratch"]

LOCAL_STEP = 64 << 20
SILENCE = 16
"""After so many files in a row that got no answer at all, the others are not tried any more."""


class Progress(Protocol):
    """Is told what was copied, from several threads."""

    def bytes(self, count: int) -> None:
        """So many bytes were copied."""

    def file(self) -> None:
        """A file is complete."""


class _Silent:
    def bytes(self, count: int) -> None:
        pass

    def file(self) -> None:
        pass


class Job(NamedTuple):
    """One file to copy.

    Attributes:
        source: path in the source store.
        target: path in the target store.
        info: what a listing said about the source, or None.
        number: how two processes call it.
    """

    source: str
    target: str
    info: ObjectInfo | None = None
    number: int = 0


class Whole:
    """The task of copying one file."""

    __slots__ = ("_copier", "job")

    def __init__(self, copier: Copier, job: Job) -> None:
        self._copier = copier
        self.job = job

    def __call__(self) -> None:
        """Copies it."""
        self._copier.attempt(self.job, 1)


class Copier:
    """Copies files from one store to another with the threads of a pool.

    A file that fails is noted in `failures`; the others go on.

    Args:
        source: driver of the source.
        target: driver of the target.
        pool: runs the work.
        progress: is told what was copied.
    """

    def __init__(
        self, source: Driver, target: Driver, *, pool: Pool, progress: Progress | None = None
    ) -> None:
        self.source = source
        self.target = target
        self.pool = pool
        self.progress: Progress = progress or _Silent()
        self.sizes = Sizes.from_environment()
        self.failures: list[tuple[str, str, BaseException]] = []
        self._folders: set[str] = set()
        self._unanswered = 0
        self._read = source.retry.until(pool.stop)
        self._write = target.retry.until(pool.stop)
        # Parts of streamed copies are held in memory: at most four at a time.
        self._streams = threading.Semaphore(4)
        from_local = source.local_path("/") is not None
        to_local = target.local_path("/") is not None
        self._copy: Callable[[Job], bool]
        if from_local and to_local:
            self._copy = self._local
        elif from_local:
            self._copy = self._upload
        elif to_local:
            self._copy = self._download
        elif source is target and source.capabilities.server_copy:
            self._copy = self._server
        else:
            self._copy = self._stream

    def add(self, job: Job) -> None:
        """Queues a file."""
        self.pool.add(Whole(self, job))

    def folder(self, path: str) -> None:
        """Makes a local folder, once."""
        if path not in self._folders:
            os.makedirs(path or ".", exist_ok=True)
            self._folders.add(path)

    def attempt(self, job: Job, attempt: int) -> None:
        """Copies a file; one whose source changed meanwhile is copied afresh."""
        while True:
            try:
                if self.pool.stop.is_set():
                    raise Stopped
                if self._unanswered >= SILENCE:
                    raise TransientError("not tried, because the store does not answer")
                if self._copy(job):
                    self.settled(job)
                return
            except (ChangedError, MoxFileReadException) as error:
                if attempt == transfer.RESTARTS:
                    return self._failed(job, error)
                attempt += 1
                job = job._replace(info=None)
            except Exception as error:
                return self._failed(job, error)

    def settled(self, job: Job, error: BaseException | None = None) -> None:
        """Takes note that a file was copied, or why it was not."""
        if error is None:
            self._unanswered = 0
            self.progress.file()
            return
        if isinstance(error, TransientError):
            self._unanswered += 1
        self.failures.append((self.source.url(job.source), self.target.url(job.target), error))

    def _failed(self, job: Job, error: BaseException) -> None:
        if self.pool.stop.is_set():
            raise Stopped
        if isinstance(error, UnicodeEncodeError):
            error = MoxFileRespException("the name is no valid UTF-8: rename the file")
        self.settled(job, error)

    def _open(self, path: str) -> tuple[int, os.stat_result]:
        """Opens a regular local file; a pipe or a socket is an error, and nothing waits for it."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        stat = os.fstat(fd)
        if not stat_module.S_ISREG(stat.st_mode):
            os.close(fd)
            if stat_module.S_ISDIR(stat.st_mode):
                raise IsADirectoryError(errno.EISDIR, "is a directory", path)
            raise OSError(errno.EINVAL, "is no regular file", path)
        return fd, stat

    def _begin_file(self, path: str) -> WholeFile:
        self.folder(os.path.dirname(path))
        whole = WholeFile(path)
        # Only the name: the thread that owns the descriptor closes it, and cannot publish any more.
        self.pool.undo_on_stop(whole, whole.forget)
        return whole

    def _publish(self, whole: WholeFile) -> None:
        if self.pool.stop.is_set():
            raise Stopped
        whole.publish()

    def _discard(self, whole: WholeFile) -> None:
        whole.discard()
        self.pool.undo_on_stop(whole, None)

    def _local(self, job: Job) -> bool:
        fd, stat = self._open(job.source)
        try:
            try:
                if os.path.samestat(stat, os.stat(job.target)):
                    return True
            except OSError:
                pass
            whole = self._begin_file(job.target)
            try:
                for at in range(0, stat.st_size, LOCAL_STEP):
                    if self.pool.stop.is_set():
                        raise Stopped
                    size = min(LOCAL_STEP, stat.st_size - at)
                    copy_range(FileSlice(fd, at, size), whole.fd)
                    self.progress.bytes(size)
                if whole.temporary:
                    os.fchmod(whole.fd, stat_module.S_IMODE(stat.st_mode))
                self._publish(whole)
            finally:
                self._discard(whole)
        finally:
            os.close(fd)
        return True

    def _upload(self, job: Job) -> bool:
        fd, stat = self._open(job.source)
        size = stat.st_size
        if size > self._largest_put():
            # The descriptor lives until the last part is sent.
            def part(start: int, length: int) -> Body:
                return FileSlice(fd, start, length)

            self._in_parts(job, size, part, close=lambda: os.close(fd))
            return False
        try:
            self._write.call(self.target.put, job.target, FileSlice(fd, 0, size), size=size)
        finally:
            os.close(fd)
        self.progress.bytes(size)
        return True

    def _largest_put(self) -> int:
        can = self.target.capabilities
        return min(self.sizes.whole, can.max_put_size) if can.multipart else can.max_put_size

    def _download(self, job: Job) -> bool:
        info = job.info
        large = info is not None and info.size > self.sizes.whole
        if info is None or (large and not info.digest):  # listings hold no digests
            info = self._read.call(self.source.stat, job.source)
        if info.size > self.sizes.whole:
            self._download_parts(job, info)
            return False
        whole = self._begin_file(job.target)
        try:
            writer = transfer.FdWriter(whole.fd)
            transfer.fetch(self.source, job.source, writer, retry=self._read, piped=True)
            self._publish(whole)
        finally:
            self._discard(whole)
        self.progress.bytes(info.size)
        return True

    def _download_parts(self, job: Job, info: ObjectInfo) -> None:
        whole = self._begin_file(job.target)
        hasher = InOrder(whole.fd, info.digest)
        ranges = transfer.cut(info.size, self.sizes.part)

        def part(number: int) -> None:
            start, length = ranges[number]
            writer = transfer.FdWriter(whole.fd, start)

            def out(chunk: memoryview | Piped) -> None:
                writer(chunk)
                self.progress.bytes(len(chunk))

            transfer.fetch(
                self.source,
                job.source,
                out,
                start=start,
                length=length,
                etag=info.etag,
                retry=self._read,
                piped=True,
            )
            if writer.at != start + length:
                raise ChangedError(f"{self.source.url(job.source)} became shorter")
            hasher.done(number, start, start + length)

        def finish(_: list[None]) -> None:
            hasher.check(self.source.url(job.source))
            self._publish(whole)

        self._all_parts(job, len(ranges), part, finish, lambda ok: self._discard(whole))

    def _server(self, job: Job) -> bool:
        info = job.info
        if info is None:
            info = self._read.call(self.source.stat, job.source)
        if job.source == job.target:
            return True
        can = self.target.capabilities
        if info.size > can.max_copy_size:
            part_size = max(1 << 30, -(-info.size // can.max_parts))
            ranges = transfer.copy_ranges(self.target, info.size, part_size)
            self._parts_upload(
                job,
                info.size,
                len(ranges),
                lambda upload, number: self._write.call(
                    self.target.copy_part, job.target, upload, number + 1, job.source,
                    start=ranges[number][0], length=ranges[number][1], etag=info.etag,
                ),
                lambda: None,
            )  # fmt: skip
            return False
        try:
            self._write.call(self.target.copy, job.source, job.target, etag=info.etag)
        except UnsupportedError:
            return self._stream(job._replace(info=info))
        self.progress.bytes(info.size)
        return True

    def _stream(self, job: Job) -> bool:
        info = job.info
        if info is None:
            info = self._read.call(self.source.stat, job.source)
        if info.size > self.sizes.whole:
            if not self.target.capabilities.multipart:
                return self._via_disk(job)
            etag = info.etag

            def part(start: int, length: int) -> Body:
                return transfer.read(
                    self.source, job.source, start=start, length=length, etag=etag,
                    retry=self._read,
                )[0]  # fmt: skip

            self._in_parts(job, info.size, part, close=lambda: None)
            return False
        with self._streams:
            data, info = transfer.read(self.source, job.source, retry=self._read)
            self._write.call(self.target.put, job.target, data, size=len(data))
        self.progress.bytes(info.size)
        return True

    def _via_disk(self, job: Job) -> bool:
        import tempfile

        with tempfile.TemporaryFile(dir=scratch()) as file:
            fd = file.fileno()
            writer = transfer.FdWriter(fd)
            transfer.fetch(self.source, job.source, writer, retry=self._read)
            body = FileSlice(fd, 0, writer.at)
            self._write.call(self.target.put, job.target, body, size=writer.at)
        self.progress.bytes(writer.at)
        return True

    def _in_parts(
        self, job: Job, size: int, body: Callable[[int, int], Body], *, close: Callable[[], None]
    ) -> None:
        """Uploads `size` bytes, of which `body(start, length)` gives any range."""
        part_size = self.sizes.part_of(size, self.target)
        ranges = transfer.cut(size, part_size)
        in_memory = not self.source.local_path("/")

        def part(upload: str, number: int) -> str:
            start, length = ranges[number]
            if in_memory:
                with self._streams:
                    return send(upload, number, body(start, length))
            return send(upload, number, body(start, length))

        def send(upload: str, number: int, data: Body) -> str:
            if len(data) != ranges[number][1]:
                raise ChangedError(f"{self.source.url(job.source)} became shorter")
            etag = self._write.call(
                self.target.upload_part, job.target, upload, number + 1, data, size=len(data)
            )
            self.progress.bytes(len(data))
            return etag

        self._parts_upload(job, size, len(ranges), part, close)

    def _parts_upload(
        self,
        job: Job,
        size: int,
        count: int,
        part: Callable[[str, int], str],
        close: Callable[[], None],
    ) -> None:
        target, path = self.target, job.target
        try:
            upload = self._write.call(target.begin_upload, path)
        except BaseException:
            close()
            raise
        abort = functools.partial(target.retry.call, target.abort_upload, path, upload)
        self.pool.undo_on_stop(upload, abort)

        def finish(parts: list[str]) -> None:
            if self.pool.stop.is_set():
                raise Stopped
            transfer.complete(target, path, upload, parts, size, self._write)

        def end(ok: bool) -> None:
            close()
            # A stopped copy leaves the upload to the pool, which does not wait for it for long.
            if not ok and not self.pool.stop.is_set():
                transfer.abort(target, path, upload)
            if ok or not self.pool.stop.is_set():
                self.pool.undo_on_stop(upload, None)

        self._all_parts(job, count, lambda number: part(upload, number), finish, end)

    def _all_parts(
        self,
        job: Job,
        count: int,
        part: Callable[[int], object],
        finish: Callable[[list], None],  # type: ignore[type-arg]
        end: Callable[[bool], None],
    ) -> None:
        """Runs `part(0..count-1)` in the pool, then `finish(results)`, and always `end(ok)`."""
        results: list[object] = [None] * count
        errors: list[BaseException] = []
        lock = threading.Lock()
        left = count

        def run(number: int) -> None:
            nonlocal left
            try:
                if self.pool.stop.is_set():
                    raise Stopped
                if not errors:
                    results[number] = part(number)
            except BaseException as error:
                errors.append(error)
            with lock:
                left -= 1
                if left:
                    return
            ok = False
            try:
                if not errors:
                    finish(results)
                    ok = True
            except BaseException as error:
                errors.append(error)
            finally:
                end(ok)
            if ok:
                self.settled(job)
            else:
                self._part_failed(job, errors[0])

        for number in range(count):
            self.pool.add(lambda number=number: run(number), first=True)  # type: ignore[misc]

    def _part_failed(self, job: Job, error: BaseException) -> None:
        if not isinstance(error, Exception):
            raise error
        changed = isinstance(error, (ChangedError, MoxFileReadException))
        if changed and job.info is not None:
            # What the listing said is out of date: once more, with a fresh look.
            self.attempt(job._replace(info=None), transfer.RESTARTS - 1)
        else:
            self._failed(job, error)


def scratch() -> str | None:
    """Where temporary copies of remote files go: DLS_LOCAL_CACHE_PATH, else the system's choice."""
    folder = os.environ.get("DLS_LOCAL_CACHE_PATH", "/cache")
    return folder if os.path.isdir(folder) and os.access(folder, os.W_OK) else None
