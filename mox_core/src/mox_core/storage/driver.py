"""The contract between mox.file and a store.

A driver does small things, once, and says exactly how they failed; the core does everything else
the same way for every store: directories, copying, retrying, resuming, verifying, File objects.

Paths. A driver sees `bucket/key` for an object store and an absolute path for a file system:
the URL without `scheme://`. A path that ends in `/` is a directory: an empty marker object in an
object store, a real directory where there are such things (`Capabilities.directories`).

Retries belong to the core. A driver makes one attempt (reusing a dead pooled connection once more
is not a retry) and raises TransientError when the same request may succeed later. Every body can
be read again, and every byte given to a sink is counted, so that the core resumes by itself.
`list` alone retries inside the driver, page by page: `self.retry.call(self._page, ...)`.

Threads. One driver serves all threads of a process. The core makes a new driver after a fork.
"""

from __future__ import annotations

import errno
import io
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from mox_core.storage.errors import UnsupportedError
from mox_core.storage.retry import Retry

if TYPE_CHECKING:
    from mox_core.storage.auth import Settings

__all__ = [
    "Body",
    "Capabilities",
    "Driver",
    "DriverFactory",
    "FileSlice",
    "ObjectInfo",
    "Piped",
    "Recipe",
    "Sink",
]


class ObjectInfo(NamedTuple):
    """One object, or one directory (the path ends in `/`).

    Attributes:
        path: as the driver was asked, `bucket/key`, decoded, exactly as stored.
        size: bytes of the whole object, 0 for a directory.
        mtime_ns: time of the last change, nanoseconds since the epoch, UTC; 0 when unknown.
        etag: a word that changes with the content, without quotes; empty when there is none.
        digest: `algorithm:hex` of the whole content when the store vouches for it, else empty.
            Algorithms: md5, sha1, sha256, crc32. An ETag is an MD5 only for an unencrypted object
            that was stored by a single PUT; leave it out when in doubt.
    """

    path: str
    size: int = 0
    mtime_ns: int = 0
    etag: str = ""
    digest: str = ""

    @property
    def is_dir(self) -> bool:
        """Whether this is a directory."""
        return self.path.endswith("/")


class FileSlice:
    """`size` bytes at `offset` of an open file: a body that a driver may hand to sendfile.

    Read it by position (`os.pread`, `os.sendfile` with an offset): other threads read the same
    descriptor at the same time. A file that turns out shorter is an error, never padding.

    Args:
        fd: the file.
        offset: where the slice begins.
        size: its length.
    """

    __slots__ = ("fd", "offset", "size")

    def __init__(self, fd: int, offset: int, size: int) -> None:
        self.fd = fd
        self.offset = offset
        self.size = size

    def __len__(self) -> int:
        return self.size

    def digest(self, algorithm: str) -> bytes:
        """Digest of the content, which is read in small pieces, so that memory stays small."""
        import hashlib

        digest = hashlib.new(algorithm, usedforsecurity=False)
        buffer = memoryview(bytearray(min(self.size, 1 << 20)))
        done = 0
        while done < self.size:
            count = os.preadv(self.fd, [buffer[: self.size - done]], self.offset + done)
            if not count:
                break  # it shrank; whoever sends it finds out, and says so
            digest.update(buffer[:count])
            done += count
        return digest.digest()

    def read_all(self) -> bytes:
        """The bytes; fewer than `size` when the file shrank."""
        data = os.pread(self.fd, self.size, self.offset)
        if len(data) == self.size or not data:
            return data
        chunks = [data]
        done = len(data)
        while done < self.size:
            data = os.pread(self.fd, self.size - done, self.offset + done)
            if not data:
                break
            chunks.append(data)
            done += len(data)
        return b"".join(chunks)

    def open(self) -> io.BufferedReader:
        """A new seekable stream over the slice, for SDKs that want a file object."""
        return io.BufferedReader(_SliceReader(self), 1 << 20)


class _SliceReader(io.RawIOBase):
    def __init__(self, part: FileSlice) -> None:
        self._part = part
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self._at, self._part.size)[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = max(0, min(len(buffer), self._part.size - self._at))
        done = os.preadv(self._part.fd, [buffer[:count]], self._part.offset + self._at)
        self._at += done
        return done


Body: TypeAlias = bytes | bytearray | memoryview | FileSlice
"""What is sent: `len(body)` is its size, and it can be read any number of times."""


class Piped:
    """`size` bytes that wait in a pipe, on their way from a socket to a file inside the kernel.

    Args:
        fd: the end to read from.
        size: how many bytes are there.
    """

    __slots__ = ("fd", "size")

    def __init__(self, fd: int, size: int) -> None:
        self.fd = fd
        self.size = size

    def __len__(self) -> int:
        return self.size

    def write_to(self, fd: int, at: int) -> None:
        """Moves all of them to a position of a file."""
        left = self.size
        while left:
            try:
                done = os.splice(self.fd, fd, left, offset_dst=at)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                # Not every file can take them so.
                data = os.read(self.fd, left)
                done = len(data)
                while data:
                    written = os.pwrite(fd, data, at + done - len(data))
                    data = data[written:]
            at += done
            left -= done


class Sink(Protocol):
    """Takes what `Driver.fetch` reads. An exception that it raises must reach the caller.

    A sink whose attribute `pipes` is true after `begin` takes `Piped` as a chunk, too.
    """

    def begin(self, info: ObjectInfo) -> None:
        """The answer's headers are here: `info` describes the whole object."""

    def write(self, chunk: memoryview) -> None:
        """The next bytes, in order; `chunk` is only valid during the call."""


class Capabilities(NamedTuple):
    """What a store can do. The core asks these, never a driver's name.

    Attributes:
        directories: directories exist by themselves and a file and a directory cannot have one
            name; `put` creates missing parents.
        multipart: an object can be uploaded in parts.
        min_part_size: smallest part but the last, bytes.
        max_parts: most parts of one object.
        max_put_size: largest object of one `put`, bytes.
        max_copy_size: largest object of one `copy`, bytes.
        part_copy: a part can be taken from another object (`copy_part`).
        append: `append` works (at least on objects that it created).
        conditional_put: `put` honours if_match and if_absent.
        move: `move` is atomic and works on directories.
        server_copy: `copy` works without sending the content through this machine.
    """

    directories: bool = False
    multipart: bool = False
    min_part_size: int = 5 << 20
    max_parts: int = 10_000
    max_put_size: int = 5 << 30
    max_copy_size: int = 5 << 30
    part_copy: bool = False
    append: bool = False
    conditional_put: bool = False
    move: bool = False
    server_copy: bool = False


class Recipe(NamedTuple):
    """How to make a driver like another one in a new process: `factory(scheme, settings)`.

    Attributes:
        factory: `module:function`, importable from the same `sys.path`.
        scheme: URL scheme.
        settings: what the driver was made with, completed with all that it found elsewhere.
    """

    factory: str
    scheme: str
    settings: Settings


class Driver(ABC):
    """Base of every driver. Seven methods are required; the others follow a capability.

    Errors that every method raises (all in `mox_core.storage.errors`): MoxFileNotExistsException
    (object, bucket or upload id is not there), AccessDeniedError, TransientError, ChangedError,
    MoxFileRespException for any other refusal. Messages use `self.url(path)`, hold no secret, and
    say what to do where that can be known. Local OSErrors (disk full) pass through unchanged.

    Args:
        scheme: the URL scheme that this driver serves, for messages.
        settings: credentials and connection settings; None in a field means "not said".
    """

    capabilities = Capabilities()

    def __init__(self, scheme: str, settings: Settings) -> None:
        self.scheme = scheme
        self.settings = settings
        self.retry = Retry.of(settings)

    def url(self, path: str) -> str:
        """The URL of a path, for messages."""
        return f"{self.scheme}://{path}"

    def local_path(self, path: str) -> str | None:
        """The path on this machine's file system, or None for a remote store."""
        return None

    def recipe(self) -> Recipe | None:
        """How another process makes a driver that does the same; None (the default): not at all.

        Called when a copy of very many small files pays for a second process. Say None when the
        driver holds anything that the settings do not: a user's object, credentials that expire.
        """
        return None

    @abstractmethod
    def stat(self, path: str) -> ObjectInfo:
        """Describes exactly this object (for a path ending in `/`: this marker or directory).

        Raises:
            MoxFileNotExistsException: there is no such object, whatever begins with its name.
        """

    @abstractmethod
    def list(
        self, prefix: str, *, recursive: bool, limit: int = 0
    ) -> Iterator[Sequence[ObjectInfo]]:
        """Lists what begins with `prefix`, page by page, each path once, never from a cache.

        The core asks for prefixes that end in `/` (and, for one level, for `""`: the buckets, each
        as `bucket/`). A marker or directory equal to the prefix is part of the answer. Nothing
        there means no entries, not an error; a missing bucket is an error.

        Args:
            prefix: `bucket/` or `bucket/key-prefix`.
            recursive: True gives all objects; False gives one level, with each deeper level as one
                entry `.../name/` of size 0.
            limit: stop after this many entries (0: all); a hint for small questions.
        """

    @abstractmethod
    def fetch(
        self,
        path: str,
        sink: Sink,
        *,
        start: int = 0,
        length: int | None = None,
        etag: str = "",
    ) -> ObjectInfo:
        """Reads `length` bytes from `start` (to the end when None, or when there are fewer).

        Calls `sink.begin(info)` once, then `sink.write(chunk)` until all bytes are delivered. A
        start at or past the end delivers nothing. Never delivers bytes of another range or of
        another version than it announced.

        Args:
            path: the object.
            sink: takes the bytes.
            start: first byte.
            length: number of bytes.
            etag: only this version (If-Match).

        Returns:
            What `begin` got.

        Raises:
            ChangedError: the object is not of this `etag` any more.
            TransientError: also when the body ends early.
        """

    @abstractmethod
    def put(
        self, path: str, body: Body, *, if_match: str = "", if_absent: bool = False
    ) -> ObjectInfo:
        """Stores a whole object, atomically, and makes sure that it arrived as it was sent.

        A path ending in `/` with an empty body makes a directory (and its parents).

        Args:
            path: the object.
            body: the content.
            if_match: only when the object is of this ETag (capability conditional_put).
            if_absent: only when there is no such object (capability conditional_put).

        Raises:
            ChangedError: if_match or if_absent does not hold.
        """

    @abstractmethod
    def delete_many(self, paths: Sequence[str]) -> Iterable[tuple[str, Exception]]:
        """Deletes up to 1000 objects; what is already gone counts as deleted.

        A path ending in `/` deletes that marker or that empty directory.

        Returns:
            (path, exception) of each that could not be deleted. Raises when the request as a
            whole failed.
        """

    @abstractmethod
    def copy(self, source: str, target: str, *, etag: str = "") -> ObjectInfo:
        """Copies one object within the store, with its metadata; onto itself does nothing.

        Args:
            source: path of the object.
            target: path of the copy, possibly in another bucket.
            etag: only when the source is of this version.
        """

    @abstractmethod
    def close(self) -> None:
        """Gives back connections. The driver is not used afterwards."""

    def interrupt(self) -> None:  # noqa: B027
        """Makes calls that other threads are waiting in fail soon, with TransientError.

        Called when a user stops a copy: close the sockets that are in use. Calls that begin later
        work. The default does nothing, and the core then leaves such threads behind.
        """

    def begin_upload(self, path: str) -> str:
        """Begins a multipart upload and returns its id (capability multipart)."""
        raise self._unsupported("upload in parts", path)

    def upload_part(self, path: str, upload: str, number: int, body: Body) -> str:
        """Sends part `number` (from 1) and returns its ETag, verified like `put`."""
        raise self._unsupported("upload in parts", path)

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
        """Takes part `number` from bytes of another object (capability part_copy)."""
        raise self._unsupported("copy in parts", path)

    def complete_upload(self, path: str, upload: str, parts: Sequence[str]) -> ObjectInfo:
        """Joins the parts (their ETags, in order) into the object. A 200 with an error raises."""
        raise self._unsupported("upload in parts", path)

    def abort_upload(self, path: str, upload: str) -> None:
        """Discards an upload; one that is already gone is fine."""
        raise self._unsupported("upload in parts", path)

    def append(self, path: str, body: Body, *, position: int) -> int:
        """Adds to the end of an object, which is created when position is 0.

        Returns:
            The object's new size.

        Raises:
            ChangedError: the object's size is not `position`.
            UnsupportedError: this one object cannot be appended to; the core rewrites it.
        """
        raise self._unsupported("append", path)

    def move(self, source: str, target: str) -> None:
        """Renames a file or a directory (both paths end in `/`) (capability move)."""
        raise self._unsupported("rename", source)

    def _unsupported(self, what: str, path: str) -> UnsupportedError:
        return UnsupportedError(f"{self.scheme}:// cannot {what} ({self.url(path)})")


DriverFactory: TypeAlias = Callable[[str, "Settings"], Driver]
"""What a plugin's `mox_storage(scheme)` returns: called as `factory(scheme, settings)`."""
