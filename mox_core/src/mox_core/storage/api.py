"""`mox.file`: one set of functions for local files, object stores and fsspec file systems.

Every function takes a local path or a URL (`s3://bucket/key`, `obs://bucket/key`, ...). Names and
arguments are those of MoXing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mox_core.storage import transfer, tree
from mox_core.storage.errors import (
    CopyError,
    MoxFileNameDuplicateException,
    MoxFileNotExistsException,
    MoxFileReadException,
    MoxFileRespException,
)
from mox_core.storage.fileobj import File, local_errors
from mox_core.storage.registry import DRIVERS
from mox_core.storage.sync import background_sync_copy
from mox_core.storage.tree import DirEntry, FileStat
from mox_core.storage.urls import Location, locate

if TYPE_CHECKING:
    from mox_core.storage.copying import Progress

__all__ = [
    "CopyError",
    "DirEntry",
    "File",
    "FileStat",
    "MoxFileNameDuplicateException",
    "MoxFileNotExistsException",
    "MoxFileReadException",
    "MoxFileRespException",
    "append",
    "append_remote",
    "background_sync_copy",
    "copy",
    "copy_parallel",
    "exists",
    "get_size",
    "glob",
    "is_directory",
    "list_directory",
    "make_dirs",
    "mk_dir",
    "read",
    "remove",
    "rename",
    "scan_dir",
    "set_auth",
    "shift",
    "stat",
    "walk",
    "write",
]

Path = str | os.PathLike[str]


def set_auth(
    ak: str | None = None,
    sk: str | None = None,
    server: str | None = None,
    port: int | None = None,
    is_secure: bool | None = None,
    ssl_verify: bool | str | None = None,
    long_conn_mode: bool | None = None,
    path_style: bool | None = None,
    retry: int | None = None,
    retry_wait: float | None = None,
    client_timeout: float | None = None,
    list_max_keys: int | None = None,
    *,
    token: str | None = None,
    region: str | None = None,
    driver: str | None = None,
    obs_client_log: bool | None = None,
    timeout_config: Any = None,
    negotiation: bool | None = None,
) -> None:
    """Says how to reach object stores, from now on; None leaves a setting as it is.

    What is not said comes from the environment (ACCESS_KEY_ID, SECRET_ACCESS_KEY, S3_ENDPOINT,
    S3_USE_HTTPS, S3_VERIFY_SSL, S3_REGION, AWS_*, ENDPOINT_URL), then from the SDK's own sources.

    Args:
        ak: access key id.
        sk: secret access key.
        server: endpoint: host, host:port or http(s)://host:port.
        port: port of the endpoint.
        is_secure: whether to use HTTPS.
        ssl_verify: False switches certificate checks off; a string names a CA file.
        long_conn_mode: whether connections are kept open.
        path_style: True for `server/bucket`, False for `bucket.server`.
        retry: how many attempts a request gets.
        retry_wait: seconds before the second attempt.
        client_timeout: seconds without a byte after which an attempt fails.
        list_max_keys: entries per page of a listing.
        token: security token of temporary credentials.
        region: region to sign for.
        driver: entry-point name of the driver that serves `s3://` (`s3` or `obs`).
        obs_client_log: whether the OBS SDK may write its own log.
        timeout_config: seconds, or (connect, read) seconds.
        negotiation: whether the OBS SDK asks the server for its signature version.

    Raises:
        AuthError: a value does not fit.
    """
    DRIVERS.set_auth(**locals())


def read(url: Path, client_id: str | None = None, binary: bool = False) -> Any:
    """Reads a whole file.

    Args:
        url: the file.
        client_id: accepted, without effect.
        binary: whether to return bytes; else text, decoded as UTF-8, line ends as in `open`.

    Raises:
        MoxFileNotExistsException: there is no such file.
        MoxFileReadException: the content arrived damaged.
    """
    location = locate(url)
    if location.is_local:
        with local_errors(location.path), open(location.path, "rb") as file:
            data = file.read()
    else:
        _file_only(location)
        try:
            data, _ = transfer.read(location.driver, location.path)
        except MoxFileNotExistsException:
            _not_a_directory(location)
            raise
    if binary:
        return data
    return data.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


def _not_a_directory(location: Location) -> None:
    if not location.is_local and tree.is_directory(location):
        raise IsADirectoryError(f"{location.url} is a directory") from None


def _encoded(data: Any, binary: bool) -> bytes:
    if binary:
        if isinstance(data, str):
            raise TypeError("binary=True takes bytes, not a text")
        return bytes(memoryview(data))
    if not isinstance(data, str):
        raise TypeError(f"data is {type(data).__name__}, not a text: pass binary=True for bytes")
    return data.encode("utf-8")


def _file_only(location: Location) -> None:
    if location.path.endswith("/") or location.is_bucket:
        raise IsADirectoryError(f"{location.url} is a directory: name a file")


def write(url: Path, data: Any, binary: bool = False) -> None:
    """Writes a whole file; the old content stands until the new one is complete.

    Args:
        url: the file; missing directories are made.
        data: text, or bytes with `binary`.
        binary: whether data is bytes.
    """
    location = locate(url)
    _file_only(location)
    body = _encoded(data, binary)
    driver = location.driver
    if len(body) > driver.capabilities.max_put_size:
        with File(url, "wb") as file:
            file.write(body)
    else:
        driver.retry.call(driver.put, location.path, body, size=len(body))


def append(url: Path, data: Any, binary: bool = False) -> None:
    """Adds to the end of a file, which is created when it is missing.

    Args:
        url: the file.
        data: text, or bytes with `binary`.
        binary: whether data is bytes.
    """
    location = locate(url)
    _file_only(location)
    body = _encoded(data, binary)
    if location.is_local:
        os.makedirs(os.path.dirname(location.path) or ".", exist_ok=True)
        with open(location.path, "ab") as file:
            file.write(body)
    else:
        transfer.append(location.driver, location.path, body)


def append_remote(src_url: Path, dst_url: Path, client_id: str | None = None) -> None:
    """Adds the content of one file to the end of another.

    Args:
        src_url: the file to read.
        dst_url: the file to add to, created when it is missing.
        client_id: accepted, without effect.
    """
    info = stat(src_url)
    if info.is_directory:
        raise IsADirectoryError(f"{os.fspath(src_url)} is a directory: name a file")
    if info.length <= transfer.IN_MEMORY:
        append(dst_url, read(src_url, binary=True), binary=True)
        return
    left = info.length
    with File(src_url, "rb") as source, File(dst_url, "ab") as target:
        while left:
            chunk = source.read(min(left, transfer.IN_MEMORY // 4))
            target.write(chunk)
            left -= len(chunk)


def copy(src_url: Path, dst_url: Path, client_id: str | None = None) -> None:
    """Copies one file, between any two stores.

    Args:
        src_url: the file.
        dst_url: the copy; an existing directory, or a path that ends in `/`, takes it by its name.
        client_id: accepted, without effect.

    Raises:
        MoxFileNotExistsException: there is no such file.
        IsADirectoryError: the source is a directory.
    """
    from mox_core.storage import moving

    moving.copy_file(locate(src_url), locate(dst_url))


def copy_parallel(
    src_url: Path,
    dst_url: Path,
    file_list: Sequence[str] | None = None,
    threads: int = 16,
    is_processing: bool = True,
    use_queue: bool = True,
    *,
    progress: Progress | None = None,
) -> None:
    """Copies everything in a directory, between any two stores; a single file like `copy`.

    Args:
        src_url: the directory whose content is copied.
        dst_url: the directory that takes it, made when it is missing.
        file_list: only these, relative to src_url; a directory's name stands for all below it.
        threads: how many files at a time; 0 uses no thread at all.
        is_processing: whether a second process may help, from a thousand files on.
        use_queue: accepted, without effect.
        progress: is told what was copied.

    Raises:
        CopyError: some files failed (`failures` lists each); all others were copied.
        MoxFileNameDuplicateException: a file and a directory would have one name at the
            destination; nothing was copied.
        MoxFileNotExistsException: there is no such source.
    """
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 0:
        raise ValueError(f"threads must be a number from 0 on, not {threads!r}")
    if isinstance(file_list, str):
        raise TypeError("file_list must be a list of names, not one text")
    from mox_core.storage import moving

    moving.copy_any(
        locate(src_url),
        locate(dst_url),
        names=file_list,
        threads=threads,
        processes=is_processing,
        progress=progress,
    )


def exists(url: Path) -> bool:
    """Whether there is a file or a directory of this name. Missing rights raise."""
    location = locate(url)
    if location.is_local:
        return os.path.exists(location.path)
    return tree.describe(location) is not None


def is_directory(url: Path) -> bool:
    """Whether there is a directory of this name."""
    location = locate(url)
    return os.path.isdir(location.path) if location.is_local else tree.is_directory(location)


def stat(src_url: Path) -> FileStat:
    """Describes a file or a directory: `length`, `mtime_nsec`, `is_directory`.

    Raises:
        MoxFileNotExistsException: there is neither.
    """
    location = locate(src_url)
    if location.is_local:
        with local_errors(location.path):
            info = os.stat(location.path)
        folder = os.path.isdir(location.path)
        return FileStat(0 if folder else info.st_size, info.st_mtime_ns, folder)
    found = tree.describe(location)
    if found is None:
        raise tree.missing(location)
    return found


def get_size(url: Path, recursive: bool = False) -> int:
    """Bytes of a file; 0 for a directory, or the sum of all files in it with `recursive`.

    Raises:
        MoxFileNotExistsException: there is no such file or directory.
    """
    found = stat(url)
    if not found.is_directory or not recursive:
        return found.length
    location = locate(url)
    pages = location.driver.list(location.directory, recursive=True)
    return sum(info.size for page in pages for info in page)


def list_directory(
    url: Path,
    recursive: bool = False,
    remove_sep: bool = True,
    skip_file: bool = False,
    skip_dir: bool = False,
) -> list[str]:
    """Names in a directory, sorted, relative to it.

    Args:
        url: the directory.
        recursive: whether to list all levels: `['dir0', 'dir0/file00', 'file1']`.
        remove_sep: False leaves a `/` at the end of remote directories.
        skip_file: whether to leave out files.
        skip_dir: whether to leave out directories.

    Raises:
        MoxFileNotExistsException: there is no such directory.
        NotADirectoryError: it is a file.
    """
    location = locate(url)
    above = len(location.directory)
    names: list[str] = []
    if recursive:
        for page in location.driver.list(location.directory, recursive=True):
            names += [info.path[above:] for info in page]
        if not names:
            list(tree.existing_children(location))  # raises unless it is an empty bucket
    else:
        names = [info.path[above:] for info in tree.existing_children(location)]
    # A listing comes sorted, as a rule, and lists and dicts keep that for `sorted`.
    chosen = [] if skip_file else [name for name in names if name[-1:] not in ("", "/")]
    if not skip_dir:
        folders = {name[:-1] for name in names if name[-1:] == "/" != name}
        for parent in {name.rpartition("/")[0] for name in names} if recursive else ():
            while parent and parent not in folders:
                folders.add(parent)
                parent = parent.rpartition("/")[0]
        if not remove_sep and not location.is_local:
            chosen += [f"{folder}/" for folder in folders]
        else:
            chosen += [folder.rstrip("/") for folder in folders]
            chosen = [*dict.fromkeys(chosen)]
    return sorted(chosen)


def make_dirs(url: Path) -> None:
    """Makes a directory and its parents; one that exists is fine.

    Raises:
        FileExistsError: a file has that name.
    """
    location = locate(url)
    if location.is_local:
        os.makedirs(location.path, exist_ok=True)
        return
    if location.is_bucket:
        if not tree.is_directory(location):
            raise tree.missing(location, "bucket")
        return
    if tree.is_file(location.at(location.path.rstrip("/"))):
        raise FileExistsError(f"{location.url} is a file: choose another name for the directory")
    location.driver.retry.call(location.driver.put, location.directory, b"")


def mk_dir(url: Path) -> None:
    """Makes one directory; in a store one that exists is fine.

    Raises:
        OSError: the parent directory does not exist, or a file has that name.
    """
    location = locate(url)
    if location.is_local:
        with local_errors(os.path.dirname(location.path.rstrip("/")) or "."):
            os.mkdir(location.path)
        return
    parent = location.at(location.path.rstrip("/").rpartition("/")[0])
    if not location.is_bucket and not tree.is_directory(parent):
        raise tree.missing(parent, "directory")
    make_dirs(url)


def remove(url: Path, recursive: bool = False) -> None:
    """Removes a file, or with `recursive` a directory and all in it; what is missing is fine.

    A path that ends in `/` means a directory only. Without `recursive` no directory is touched.

    Raises:
        CopyError: some could not be removed; all others were.
    """
    from mox_core.storage import removing

    removing.remove(locate(url), recursive=recursive, done=lambda count: None)


def rename(src_url: Path, dst_url: Path) -> None:
    """Moves a file or a directory, between any two stores; the source goes last.

    Raises:
        MoxFileNotExistsException: there is no such source.
        OSError: the destination is a directory that is not empty, or lies inside the source.
    """
    from mox_core.storage import moving

    moving.rename(locate(src_url), locate(dst_url))


def glob(url: Path) -> list[str]:
    """Full paths that match a pattern, sorted.

    `*` and `?` match within one level and skip names that begin with a dot, `**` matches any
    number of levels, `[ab]` and `[!ab]` one character.
    """
    location = locate(url)
    if location.is_local:
        return sorted(location.prefix + path for path in _local_glob(location.path))
    return sorted(location.prefix + path for path in tree.glob(location))


def _local_glob(path: str) -> Iterator[str]:
    from glob import iglob

    # `a/**` of the glob module gives `a/` itself too, which is nothing below a.
    return (found for found in iglob(path, recursive=True) if found != path[:-2])


def shift(from_: str, to: str) -> None:
    """Lets Python's own file functions (open, os.listdir, ...) take URLs, or ends that.

    Args:
        from_: `os`, or `mox` to go back.
        to: the other one.

    Raises:
        ValueError: the two are not 'os' and 'mox'.
    """
    from mox_core.storage import shift as switch

    switch.shift(from_, to)


def scan_dir(url: Path) -> Any:
    """Entries of a directory, like `os.scandir`; they know their size and time already.

    Raises:
        MoxFileNotExistsException: there is no such directory (at the first entry).
    """
    location = locate(url)
    if location.is_local:
        with local_errors(location.path):
            return os.scandir(location.path)
    return tree.Scan(location)


def walk(
    url: Path,
    topdown: bool = True,
    onerror: Callable[[OSError], object] | None = None,
    followlinks: bool = False,
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walks through a directory, like `os.walk`; the first of each three is a full URL.

    Args:
        url: the directory.
        topdown: whether a directory comes before what is in it.
        onerror: for local directories, see os.walk.
        followlinks: for local directories, see os.walk.
    """
    location = locate(url)
    if location.is_local:
        for folder, directories, files in os.walk(
            location.path, topdown=topdown, onerror=onerror, followlinks=followlinks
        ):
            yield location.prefix + folder, directories, files
        return
    yield from tree.walk(location, topdown=topdown)
