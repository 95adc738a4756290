"""The local file system: the `file` driver, and files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import stat as stat_module
from collections.abc import Iterable, Iterator, Sequence

from mox_core.storage.driver import (
    Body,
    Capabilities,
    Driver,
    FileSlice,
    ObjectInfo,
    Recipe,
    Sink,
)
from mox_core.storage.errors import (
    AccessDeniedError,
    ChangedError,
    MoxFileNameDuplicateException,
    MoxFileNotExistsException,
)

__all__ = ["LocalDriver", "WholeFile"]

CHUNK = 1 << 20


class WholeFile:
    """Writes a file under a temporary name in its folder; `publish` gives it its real name.

    Until then the old content stands. An existing file keeps its mode, a link keeps its target.
    Something that is no regular file (`/dev/null`, a pipe) is written directly.

    Args:
        path: the file to make or replace; its folder must exist.
    """

    __slots__ = ("fd", "path", "temporary")

    def __init__(self, path: str) -> None:
        mode: int | None = None
        try:
            old = os.lstat(path)
        except FileNotFoundError:
            pass
        else:
            if stat_module.S_ISLNK(old.st_mode):
                path = os.path.realpath(path)
                with contextlib.suppress(FileNotFoundError):
                    old = os.stat(path)
            if stat_module.S_ISDIR(old.st_mode):
                raise MoxFileNameDuplicateException(
                    f"cannot write the file {path}: there is a directory of that name. "
                    "Remove it or choose another destination."
                )
            mode = old.st_mode
        self.path = path
        self.temporary = ""
        if mode is not None and not stat_module.S_ISREG(mode) and not stat_module.S_ISLNK(mode):
            self.fd = os.open(path, os.O_WRONLY)
            return
        self.temporary = f"{path[: path.rfind('/') + 1]}.mox-{os.urandom(8).hex()}.tmp"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self.fd = os.open(self.temporary, flags, 0o666)
        if mode is not None:
            with contextlib.suppress(OSError):
                os.fchmod(self.fd, stat_module.S_IMODE(mode))

    def publish(self) -> None:
        """Closes the file and renames it over the old one."""
        fd, self.fd = self.fd, -1
        os.close(fd)
        if self.temporary:
            os.replace(self.temporary, self.path)
            self.temporary = ""

    def forget(self) -> None:
        """Removes the temporary name only; a `publish` that comes later fails."""
        if self.temporary:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.temporary)

    def discard(self) -> None:
        """Closes and removes the temporary file; nothing happened. Harmless after `publish`."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
        if self.temporary:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.temporary)
            self.temporary = ""


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Writes everything at the descriptor's position."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _etag(info: os.stat_result) -> str:
    return f"{info.st_mtime_ns:x}-{info.st_size:x}-{info.st_ino:x}"


class LocalDriver(Driver):
    """Files and directories of this machine."""

    capabilities = Capabilities(
        directories=True, append=True, conditional_put=True, move=True, server_copy=True,
        max_put_size=1 << 62, max_copy_size=1 << 62,
    )  # fmt: skip

    def local_path(self, path: str) -> str | None:
        """The path itself."""
        return path

    def recipe(self) -> Recipe:
        """Any process can."""
        return Recipe(f"{__name__}:LocalDriver", self.scheme, self.settings)

    def url(self, path: str) -> str:
        """The path itself: local paths have no scheme."""
        return path

    def stat(self, path: str) -> ObjectInfo:
        """Describes a file, or a directory when the path ends in `/`; follows links."""
        with self._errors(path):
            info = os.stat(path)
        if stat_module.S_ISDIR(info.st_mode) != path.endswith("/"):
            raise self._missing(path)
        return self._info(path, info)

    def list(
        self, prefix: str, *, recursive: bool, limit: int = 0
    ) -> Iterator[Sequence[ObjectInfo]]:
        """Lists a directory, which comes first, in the order of the file system."""
        if not os.path.isdir(prefix):
            return
        count = 1
        yield [self._info(prefix, os.stat(prefix))]
        stack = [(prefix, frozenset({os.path.realpath(prefix)}))]
        while stack and not (limit and count >= limit):
            folder, above = stack.pop()
            page = []
            with self._errors(folder):
                entries = os.scandir(folder)
            with entries:
                for entry in entries:
                    if limit and count >= limit:
                        break
                    count += 1
                    path = folder + entry.name
                    is_dir = entry.is_dir()
                    try:
                        info = entry.stat()
                    except OSError:  # a dangling link, or gone since
                        info = entry.stat(follow_symlinks=False)
                    page.append(self._info(path + "/" if is_dir else path, info))
                    if recursive and is_dir:
                        real = os.path.realpath(path)
                        if real not in above:  # a link to a folder above would never end
                            stack.append((path + "/", above | {real}))
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
        """Reads a range of a file."""
        with self._errors(path):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with self._errors(path):
                stat = os.fstat(fd)
            if stat_module.S_ISDIR(stat.st_mode):
                raise self._missing(path)
            info = self._info(path, stat)
            if etag and etag != info.etag:
                raise ChangedError(f"{path} was changed while it was being read")
            sink.begin(info)
            end = info.size if length is None else min(info.size, start + length)
            buffer = memoryview(bytearray(max(0, min(CHUNK, end - start))))
            while start < end:
                with self._errors(path):
                    count = os.preadv(fd, [buffer[: end - start]], start)
                if not count:
                    raise ChangedError(f"{path} became shorter while it was being read")
                sink.write(buffer[:count])
                start += count
        finally:
            os.close(fd)
        return info

    def put(
        self, path: str, body: Body, *, if_match: str = "", if_absent: bool = False
    ) -> ObjectInfo:
        """Writes a file under a temporary name and renames it; makes missing folders."""
        with self._errors(path):
            if path.endswith("/"):
                os.makedirs(path, exist_ok=True)
                return self._info(path, os.stat(path))
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            target = WholeFile(path)
            try:
                self._check(path, if_match=if_match, if_absent=if_absent)
                if isinstance(body, FileSlice):
                    copy_range(body, target.fd)
                else:
                    write_all(target.fd, body)
                info = self._info(path, os.fstat(target.fd))
                target.publish()
            finally:
                target.discard()
        return info

    def delete_many(self, paths: Sequence[str]) -> Iterable[tuple[str, Exception]]:
        """Removes files, and directories that are empty."""
        failed: list[tuple[str, Exception]] = []
        for path in paths:
            try:
                with self._errors(path):
                    if path.endswith("/") and not os.path.islink(path[:-1]):
                        os.rmdir(path)
                    else:
                        os.unlink(path.rstrip("/"))
            except FileNotFoundError:
                pass
            except Exception as error:
                failed.append((path, error))
        return failed

    def copy(self, source: str, target: str, *, etag: str = "") -> ObjectInfo:
        """Copies a file with its mode bits."""
        with self._errors(source):
            fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            stat = os.fstat(fd)
            if not stat_module.S_ISREG(stat.st_mode):
                raise IsADirectoryError(errno.EISDIR, "is not a regular file", source)
            if etag and etag != _etag(stat):
                raise ChangedError(f"{source} was changed before it was copied")
            with self._errors(target):
                os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
                try:
                    if os.path.samestat(stat, os.stat(target)):
                        return self._info(target, stat)
                except FileNotFoundError:
                    pass
                whole = WholeFile(target)
                try:
                    copy_range(FileSlice(fd, 0, stat.st_size), whole.fd)
                    if whole.temporary:
                        os.fchmod(whole.fd, stat_module.S_IMODE(stat.st_mode))
                    info = self._info(target, os.fstat(whole.fd))
                    whole.publish()
                finally:
                    whole.discard()
        finally:
            os.close(fd)
        return info

    def append(self, path: str, body: Body, *, position: int) -> int:
        """Adds to the end of a file."""
        data = body.read_all() if isinstance(body, FileSlice) else body
        with self._errors(path):
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            try:
                if os.fstat(fd).st_size != position:
                    raise ChangedError(f"{path} does not have {position} bytes any more")
                write_all(fd, data)
                return os.fstat(fd).st_size
            finally:
                os.close(fd)

    def move(self, source: str, target: str) -> None:
        """Renames a file or a directory."""
        with self._errors(source):
            os.rename(source.rstrip("/"), target.rstrip("/"))

    def close(self) -> None:
        """There is nothing to give back."""

    def _info(self, path: str, info: os.stat_result) -> ObjectInfo:
        if stat_module.S_ISDIR(info.st_mode):
            return ObjectInfo(path, 0, info.st_mtime_ns)
        return ObjectInfo(path, info.st_size, info.st_mtime_ns, _etag(info))

    def _check(self, path: str, *, if_match: str, if_absent: bool) -> None:
        if not (if_match or if_absent):
            return
        try:
            now = _etag(os.stat(path))
        except FileNotFoundError:
            now = ""
        if (if_absent and now) or (if_match and now != if_match):
            raise ChangedError(f"{path} was changed by somebody else")

    def _missing(self, path: str) -> MoxFileNotExistsException:
        return MoxFileNotExistsException(f"there is no {_kind(path)} {path}")

    @contextlib.contextmanager
    def _errors(self, path: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError) as error:
            if isinstance(error, MoxFileNotExistsException):
                raise
            raise self._missing(path) from error
        except PermissionError as error:
            raise AccessDeniedError(f"no permission for {path}: {error.strerror}") from error


def _kind(path: str) -> str:
    return "directory" if path.endswith("/") else "file"


def copy_range(source: FileSlice, fd: int) -> None:
    """Copies a slice of a file to a descriptor's position, inside the kernel where it can.

    Raises:
        ChangedError: the source became shorter.
    """
    done = 0
    kernel = hasattr(os, "copy_file_range")
    while done < source.size:
        left = source.size - done
        if kernel:
            try:
                count = os.copy_file_range(source.fd, fd, left, source.offset + done)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                    raise
                kernel = False
                continue
        else:
            data = os.pread(source.fd, min(CHUNK, left), source.offset + done)
            write_all(fd, data)
            count = len(data)
        if not count:
            raise ChangedError("the source file became shorter while it was being copied")
        done += count
