"""Carrying what a run writes to a remote log_dir, in the background.

One upload stores one checkpoint, in this order: a note that names the checkpoints whose files are
not whole from here on; the checkpoint's files, its record last; event files, metrics and whatever
else has changed; the pointer `checkpoint`. Then older checkpoints go, and the note. A kill at any
moment leaves the pointer at whole checkpoints, and the note tells the next run what to remove.

A save waits until the upload before is over, so that the store is at most one save behind. Only
while the store fails nothing waits for it: then the newest checkpoint takes the place of those that
were not stored, and every save tries again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterable
from typing import NamedTuple

from mox_core.checkpoint import (
    BASENAME,
    POINTER,
    RECORD_SUFFIX,
    files_of,
    pointer_text,
    read_pointer,
    split_by_age,
)
from mox_core.storage.api import copy_parallel, list_directory, make_dirs, read, remove, write
from mox_core.storage.errors import CopyError

__all__ = ["OWN", "Uploader", "reason"]

OWN = ".mox-"
"""What has a name that begins so in the local folder stays there."""

NOTE = f"{OWN}unfinished"


class _Checkpoint(NamedTuple):
    """A checkpoint to store: its name, and a folder with links that retention does not touch."""

    name: str
    folder: str


class Uploader:
    """Stores a local folder, in which a run saves checkpoints, in a remote one.

    Args:
        folder: the local folder.
        url: the remote one.
        keep: how many checkpoints stay there; 0: all.
        logger: told when the store fails, and when it is back.
        hurry: true once a save is not to wait for the upload before.

    Attributes:
        behind: the newest checkpoint that was tried last and is not stored, by name.
    """

    def __init__(
        self, folder: str, url: str, *, keep: int, logger: logging.Logger, hurry: Callable[[], bool]
    ) -> None:
        self.behind: str | None = None
        self._folder = folder
        self._url = url
        self._keep = keep
        self._logger = logger
        self._hurry = hurry
        self._listed: list[str] = []  # checkpoints in the remote pointer, the oldest first
        self._unlisted: set[str] = set()  # others that may have files there
        self._stored: dict[str, tuple[int, int]] = {}  # other files: size and time when stored
        self._waiting: _Checkpoint | None = None
        self._failed: _Checkpoint | None = None
        self._busy = self._failing = self._ended = False
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Makes the remote folder; reads what is there, removes what a killed run left.

        Raises:
            MoxError: the store does not answer, or cannot be written.
        """
        make_dirs(self._url)
        self._listed = list(reversed(read_pointer(self._url) or []))
        with contextlib.suppress(FileNotFoundError, ValueError):
            left = json.loads(read(f"{self._url}/{NOTE}"))
            self._unlisted = {str(name) for name in left} - set(self._listed)
            self._tidy()

    def checkpoint_saved(self, prefix: str) -> None:
        """Has a checkpoint stored that is complete in the local folder."""
        checkpoint = self._link(prefix)
        with self._change:
            if self._thread is None:
                # A daemon: a store that hangs must not keep a process that was told to end.
                self._thread = threading.Thread(target=self._work, name="mox-uploads", daemon=True)
                self._thread.start()
            while (self._busy or self._waiting) and not self._failing and not self._hurry():
                self._change.wait(0.2)
            replaced, self._waiting = self._waiting, checkpoint
            self._change.notify_all()
        if replaced:
            shutil.rmtree(replaced.folder, ignore_errors=True)

    def store_folder(self, folder: str, name: str) -> None:
        """Stores a folder as a sub-folder of the remote one, what lies deepest first.

        Raises:
            MoxError: the store fails.
        """
        files = list(_files_below(folder))
        for depth in sorted({path.count("/") for path in files}, reverse=True):
            level = [path for path in files if path.count("/") == depth]
            copy_parallel(folder, f"{self._url}/{name}", file_list=level)

    def finish(self) -> None:
        """Stores what is not stored yet, trying once more; ends the thread.

        Raises:
            MoxError: the store fails; `behind` tells whether a checkpoint is missing there.
        """
        with self._change:
            self._ended = True
            self._change.notify_all()
        if self._thread is not None:
            self._thread.join()
        if self._failed:
            self._store(self._failed)
        else:
            self._store_others()
        if self._unlisted:
            self._tidy()

    def _work(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._waiting is not None or self._ended)
                if self._waiting is None:
                    return
                checkpoint, self._waiting = self._waiting, None
                self._busy = True
            self._try(checkpoint)
            with self._change:
                self._busy = False
                self._change.notify_all()

    def _try(self, checkpoint: _Checkpoint) -> None:
        if self._failed:
            shutil.rmtree(self._failed.folder, ignore_errors=True)
        try:
            self._store(checkpoint)
        except Exception as error:
            self._failed = checkpoint
            with self._change:
                self._failing = True
            self._logger.warning(
                "%s could not be stored in %s: %s Training goes on; the next save tries again.",
                checkpoint.name,
                self._url,
                reason(error),
            )
            return
        if self._failing:
            self._failing = False
            self._logger.info("%s answers again; %s is stored.", self._url, checkpoint.name)
        with contextlib.suppress(Exception):  # the next save or the end of the run does it
            self._tidy()

    def _store(self, checkpoint: _Checkpoint) -> None:
        name, folder = checkpoint
        self.behind = name
        self._unlisted.add(name)
        dropped, listed = split_by_age(
            [*(one for one in self._listed if one != name), name], self._keep
        )
        self._write(NOTE, json.dumps(sorted(self._unlisted.union(dropped))))
        record = name + RECORD_SUFFIX
        files = sorted(os.listdir(folder))
        copy_parallel(folder, self._url, file_list=[one for one in files if one != record])
        copy_parallel(folder, self._url, file_list=[record])
        self._store_others()
        self._write(POINTER, pointer_text(listed))
        self._listed = listed
        self._unlisted = self._unlisted.union(dropped) - {name}
        self._failed = self.behind = None
        shutil.rmtree(folder, ignore_errors=True)

    def _store_others(self) -> None:
        """Stores all that is no checkpoint and has changed."""
        changed = {}
        for path in _files_below(self._folder):
            with contextlib.suppress(OSError):  # it may go at any moment
                stat = os.stat(os.path.join(self._folder, path))
                changed[path] = (stat.st_size, stat.st_mtime_ns)
        files = [
            path
            for path, stamp in changed.items()
            if path != POINTER
            and not path.startswith((f"{BASENAME}-", OWN))
            and self._stored.get(path) != stamp
        ]
        if not files:
            return
        try:
            copy_parallel(self._folder, self._url, file_list=files)
        except CopyError as error:
            if any(os.path.exists(source) for source, _, _ in error.failures):
                raise
        self._stored.update({path: changed[path] for path in files})

    def _tidy(self) -> None:
        """Removes the files of checkpoints that are not listed, and the note of them."""
        if self._unlisted:
            for file in list_directory(self._url, skip_dir=True):
                if any(file == name or file.startswith(f"{name}.") for name in self._unlisted):
                    remove(f"{self._url}/{file}")
        self._unlisted = set()
        remove(f"{self._url}/{NOTE}")

    def _write(self, name: str, text: str) -> None:
        write(f"{self._url}/{name}", text)

    def _link(self, prefix: str) -> _Checkpoint:
        name = os.path.basename(prefix)
        folder = os.path.join(self._folder, f"{OWN}uploading-{name}")
        shutil.rmtree(folder, ignore_errors=True)
        os.mkdir(folder)
        for file in files_of(prefix):
            source, link = os.path.join(self._folder, file), os.path.join(folder, file)
            try:
                os.link(source, link)
            except OSError:  # a file system without hard links
                shutil.copy2(source, link)
        return _Checkpoint(name, folder)


def reason(error: Exception) -> str:
    """The first line of what went wrong; of a copy, of its first file."""
    cause = error.failures[0][2] if isinstance(error, CopyError) else error
    first = (str(cause).strip() or type(cause).__name__).splitlines()[0]
    return first if first.endswith(".") else first + "."


def _files_below(folder: str) -> Iterable[str]:
    """Paths of all files in a folder, relative to it; what begins with `.mox-` is left out."""
    for path, folders, files in os.walk(folder):
        folders[:] = [one for one in folders if not one.startswith(OWN)]
        rel = os.path.relpath(path, folder)
        for file in files:
            yield file if rel == "." else f"{rel}/{file}"
