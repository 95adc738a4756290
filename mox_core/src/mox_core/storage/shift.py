"""`mox.file.shift('os', 'mox')`: Python's own file functions learn remote URLs, and forget them.

Only a call that names a remote URL comes here; every other call reaches the original function with
its arguments untouched.
"""

from __future__ import annotations

import builtins
import functools
import glob
import os
import shutil
from collections.abc import Callable
from typing import Any

from mox_core.storage.urls import is_remote

__all__ = ["shift"]

Function = Callable[..., Any]

_KEYWORDS = ("path", "src", "dst", "file", "filename", "name", "top", "pathname", "s")
_SUPPORTS = ("supports_fd", "supports_dir_fd", "supports_follow_symlinks", "supports_effective_ids")


def shift(from_: str, to: str) -> None:
    """Switches Python's file functions to mox and back; repeating a switch changes nothing.

    Switched are exactly: open, os.listdir, makedirs, mkdir, remove, rename, scandir, stat, walk,
    os.path.exists, getsize, isdir, glob.glob, shutil.copyfile, copytree, rmtree.

    Args:
        from_: `os` or `mox`.
        to: the other one.

    Raises:
        ValueError: the two are not 'os' and 'mox'.
    """
    if {from_, to} != {"os", "mox"}:
        raise ValueError(f"shift takes 'os' and 'mox', not {from_!r} and {to!r}")
    for module, name, remote, paths in _TABLE:
        now = getattr(module, name)
        original = getattr(now, "_mox_original", None)
        if to == "mox" and original is None:
            _replace(module, name, now, _wrapper(now, remote, paths))
        elif to == "os" and original is not None:
            _replace(module, name, now, original)


def _replace(module: Any, name: str, old: Function, new: Function) -> None:
    setattr(module, name, new)
    for attribute in _SUPPORTS:  # shutil asks there what os's functions can do
        known = getattr(os, attribute)
        if old in known:
            known.discard(old)
            known.add(new)


def _wrapper(original: Function, remote: Function, paths: int) -> Function:
    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        for value in args[:paths]:
            if is_remote(value):
                return remote(*args, **kwargs)
        if len(args) < paths and any(is_remote(kwargs.get(key)) for key in _KEYWORDS):
            return remote(*args, **kwargs)
        return original(*args, **kwargs)

    call._mox_original = original  # type: ignore[attr-defined]
    return call


def _api() -> Any:
    from mox_core.storage import api

    return api


def _open(
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Any = None,
) -> Any:
    return _api().File(
        file, mode, buffering=buffering, encoding=encoding, errors=errors, newline=newline
    )


def _listdir(path: Any = ".") -> Any:
    return _api().list_directory(path)


def _makedirs(name: Any, mode: int = 0o777, exist_ok: bool = False) -> None:
    if not exist_ok and _api().is_directory(name):
        raise FileExistsError(17, "File exists", os.fspath(name))
    _api().make_dirs(name)


def _mkdir(path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
    if _api().is_directory(path):
        raise FileExistsError(17, "File exists", os.fspath(path))
    _api().mk_dir(path)


def _remove(path: Any, *, dir_fd: int | None = None) -> None:
    found = _api().stat(path)
    if found.is_directory:
        raise IsADirectoryError(21, "Is a directory", os.fspath(path))
    _api().remove(path)


def _rename(src: Any, dst: Any, **_: Any) -> None:
    _api().rename(src, dst)


def _scandir(path: Any = ".") -> Any:
    return _api().scan_dir(path)


def _stat(path: Any, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
    found = _api().stat(path)
    seconds = found.mtime_nsec // 10**9
    return os.stat_result((found.st_mode, 0, 0, 1, 0, 0, found.length, seconds, seconds, seconds))


def _walk(top: Any, topdown: bool = True, onerror: Any = None, followlinks: bool = False) -> Any:
    return _api().walk(top, topdown)


def _exists(path: Any) -> Any:
    return _api().exists(path)


def _getsize(filename: Any) -> Any:
    return _api().get_size(filename)


def _isdir(s: Any) -> Any:
    return _api().is_directory(s)


def _glob(pathname: Any, **_: Any) -> Any:
    return _api().glob(pathname)


def _copyfile(src: Any, dst: Any, *, follow_symlinks: bool = True) -> Any:
    _api().copy(src, dst)
    return dst


def _copytree(src: Any, dst: Any, *_: Any, **__: Any) -> Any:
    _api().copy_parallel(src, dst)
    return dst


def _rmtree(path: Any, ignore_errors: bool = False, *_: Any, **__: Any) -> None:
    if not ignore_errors and not _api().is_directory(path):
        raise FileNotFoundError(2, "No such directory", os.fspath(path))
    _api().remove(path, recursive=True)


_TABLE: tuple[tuple[Any, str, Function, int], ...] = (
    (builtins, "open", _open, 1),
    (os, "listdir", _listdir, 1),
    (os, "makedirs", _makedirs, 1),
    (os, "mkdir", _mkdir, 1),
    (os, "remove", _remove, 1),
    (os, "rename", _rename, 2),
    (os, "scandir", _scandir, 1),
    (os, "stat", _stat, 1),
    (os, "walk", _walk, 1),
    (os.path, "exists", _exists, 1),
    (os.path, "getsize", _getsize, 1),
    (os.path, "isdir", _isdir, 1),
    (glob, "glob", _glob, 1),
    (shutil, "copyfile", _copyfile, 2),
    (shutil, "copytree", _copytree, 2),
    (shutil, "rmtree", _rmtree, 1),
)
"""Module, name, what a call with a remote URL does, and how many leading arguments are paths."""
