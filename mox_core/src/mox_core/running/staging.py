"""A local stand-in for a log_dir or a checkpoint_path that is in a store.

Engines and hooks read and write local folders only. A remote log_dir is staged in a temporary
folder: what is needed to go on is copied there first, what the run writes there is uploaded. Its
place is DLS_LOCAL_CACHE_PATH, `/cache`, or the system's folder for temporary files.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from mox_core.checkpoint import (
    POINTER,
    DamagedError,
    copy_checkpoint,
    latest_checkpoint,
    pointer_text,
)
from mox_core.errors import CheckpointError, ExportError
from mox_core.hooks.metrics import FILENAME as METRICS
from mox_core.running.uploads import OWN, Uploader, reason
from mox_core.storage.api import copy
from mox_core.storage.copying import scratch
from mox_core.storage.urls import is_remote

if TYPE_CHECKING:
    from mox_core.engine import Cluster
    from mox_core.running.plan import RunPlan

__all__ = ["Staging", "staged"]

_PREFIX = "mox-log-dir-"
_LOCK = f"{OWN}lock"


class Staging:
    """The local folders of one run.

    Args:
        folder: a new folder of this run.
        url: the remote log_dir, or None.
        uploader: stores what is in `folder`; None in processes that write nothing.
    """

    def __init__(self, folder: str, url: str | None, uploader: Uploader | None) -> None:
        self.uploader = uploader
        self._folder = folder
        self._url = url
        self._copies: dict[str, str] = {}  # local prefix -> the one in a store

    def latest_checkpoint(self, log_dir: str) -> str | None:
        """The local prefix of the newest checkpoint in log_dir; copied here when it is remote."""
        found = latest_checkpoint(log_dir)
        if found or not self._url:
            return found
        remote = latest_checkpoint(self._url)
        if remote is None:
            return None
        found = copy_checkpoint(remote, self._folder)
        with open(os.path.join(self._folder, POINTER), "w", encoding="utf-8") as file:
            file.write(pointer_text([os.path.basename(found)]))
        return found

    def local_copy(self, prefix: str) -> str:
        """The local prefix of a checkpoint that may be in a store."""
        if not is_remote(prefix):
            return prefix
        folder = tempfile.mkdtemp(prefix=f"{OWN}fetched-", dir=self._folder)
        copied = copy_checkpoint(prefix, folder)
        self._copies[copied] = prefix
        return copied

    def url_of(self, path: str) -> str:
        """What the user calls a path: the URL of what stands here for something remote."""
        if path in self._copies:
            return self._copies[path]
        if self._url and (path == self._folder or path.startswith(f"{self._folder}/")):
            return self._url + path[len(self._folder) :]
        return path

    @contextlib.contextmanager
    def naming(self, prefix: str) -> Iterator[None]:
        """Lets errors about a local checkpoint speak of the one that it is a copy of."""
        try:
            yield
        except CheckpointError as error:
            url = self.url_of(prefix)
            if url == prefix:
                raise
            if isinstance(error, DamagedError):  # others are there, not here
                raise DamagedError(url, error.what) from error
            raise CheckpointError(str(error).replace(prefix, url)) from error

    def publish_export(self, folder: str, target: str) -> None:
        """Stores an exported model in the remote log_dir.

        Raises:
            ExportError: the store fails.
        """
        assert self.uploader is not None
        try:
            self.uploader.store_folder(folder, os.path.basename(target))
        except Exception as error:
            raise ExportError(
                f"could not store the exported model in {target}: {reason(error)}\n"
                "  Remove what is there, then run with run_mode=EVAL and export_model once more."
            ) from error


@contextlib.contextmanager
def staged(
    plan: RunPlan, cluster: Cluster, logger: logging.Logger, interrupted: Callable[[], bool]
) -> Iterator[tuple[RunPlan, Staging]]:
    """Gives the plan with local paths; at its end everything is stored.

    Raises:
        CheckpointError: the last checkpoint of a run that ended well could not be stored.
        MoxError: at the start: the store does not answer, or cannot be written.
    """
    url = plan.log_dir if plan.log_dir and is_remote(plan.log_dir) else None
    if not url and not (plan.checkpoint_path and is_remote(plan.checkpoint_path)):
        yield plan, Staging("", None, None)
        return
    with _folder() as folder:
        uploader = None
        if url:
            if cluster.is_chief:
                uploader = _begin(folder, url, plan, logger, interrupted)
            plan = replace(plan, log_dir=folder, keep_checkpoints=1)
        failed = True
        try:
            yield plan, Staging(folder, url, uploader)
            failed = False
        finally:
            if uploader and url:
                _finish(uploader, folder, url, logger, failed)


def _begin(
    folder: str,
    url: str,
    plan: RunPlan,
    logger: logging.Logger,
    interrupted: Callable[[], bool],
) -> Uploader:
    uploader = Uploader(folder, url, keep=plan.keep_checkpoints, logger=logger, hurry=interrupted)
    if plan.training:
        uploader.begin()
    with contextlib.suppress(FileNotFoundError):  # it is gone on with
        copy(f"{url}/{METRICS}", os.path.join(folder, METRICS))
    logger.info("%s is staged in %s", url, folder)
    return uploader


def _finish(
    uploader: Uploader, folder: str, url: str, logger: logging.Logger, failed: bool
) -> None:
    try:
        uploader.finish()
    except Exception as error:
        _keep(folder)
        what = uploader.behind or "what this run wrote last"
        text = f"{what} could not be stored in {url}: {reason(error)}"
        advice = f"It is in {folder}: copy it with `mox file cp -r {folder} {url}`."
        if uploader.behind and not failed:
            raise CheckpointError(f"{text}\n  {advice}") from error
        logger.warning("%s %s", text, advice)


@contextlib.contextmanager
def _folder() -> Iterator[str]:
    """A new folder, removed in the end, or by a later run when this process is killed."""
    place = scratch() or tempfile.gettempdir()
    _remove_left_behind(place)
    folder = tempfile.mkdtemp(prefix=_PREFIX, dir=place)
    with open(os.path.join(folder, _LOCK), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            if os.path.exists(lock.name):
                shutil.rmtree(folder, ignore_errors=True)


def _keep(folder: str) -> None:
    """Leaves the folder to the user, without what is only of use to the run."""
    for name in os.listdir(folder):
        if name.startswith(OWN):
            path = os.path.join(folder, name)
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)


def _remove_left_behind(place: str) -> None:
    """Removes the folders of processes that were killed: nobody holds their lock."""
    for name in os.listdir(place):
        if not name.startswith(_PREFIX):
            continue
        folder = os.path.join(place, name)
        with contextlib.suppress(OSError), open(os.path.join(folder, _LOCK), "r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
