"""Removing files and whole directories."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from mox_core.storage import tree
from mox_core.storage.errors import CopyError, TransientError
from mox_core.storage.urls import Location

__all__ = ["remove"]


def remove(location: Location, *, recursive: bool, done: Callable[[int], object]) -> None:
    """Removes a file; with `recursive` also everything in the directory of that name.

    Raises:
        CopyError: some could not be removed; all others were.
        OSError: others go on writing to the directory.
    """
    driver = location.driver
    linked = location.is_local and os.path.islink(location.path.rstrip("/"))
    named = not location.path.endswith("/") and not location.is_bucket
    # Some stores refuse to delete a key that is a directory to them: ask before, where it may be.
    if named and (recursive or driver.capabilities.directories) and not linked:
        named = tree.is_file(location)
    if named:
        _remove_file(location, done)
    if not recursive or linked:
        return
    if location.is_local:
        if os.path.isdir(location.path):
            import shutil

            done(sum(len(files) for _, _, files in os.walk(location.path)))
            shutil.rmtree(location.path)
        return
    if not driver.capabilities.directories and not location.path.rstrip("/"):
        raise OSError(errno.EINVAL, "a bucket must be named", location.url)
    tree.delete_directory(driver, location.directory, done=done)


def _remove_file(location: Location, done: Callable[[int], object]) -> None:
    driver, paths = location.driver, [location.path]
    try:
        failed = list(driver.delete_many(paths))
    except TransientError:
        # Some stores always fail to delete a key that is a directory to them.
        if not tree.is_file(location):
            return
        failed = list(driver.retry.call(driver.delete_many, paths))
    if failed:
        raise CopyError.of("could not remove", [(location.url, "", error) for _, error in failed])
    done(1)
