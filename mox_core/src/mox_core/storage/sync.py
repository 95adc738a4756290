"""Keeping a copy of a local folder up to date, in the background."""

from __future__ import annotations

import atexit
import os
import threading

from mox_core._lazy import lazy_logger
from mox_core.storage.urls import locate

__all__ = ["BackgroundSync", "background_sync_copy"]

LOG = lazy_logger("mox.file")


class BackgroundSync:
    """Copies what is new in a folder every `seconds`, and once more at `stop` or at exit.

    Args:
        local: the folder; it may appear later.
        remote: where the copy goes.
        seconds: pause between two rounds.
    """

    def __init__(self, local: str, remote: str, *, seconds: float) -> None:
        if not seconds > 0:
            raise ValueError(f"seconds must be more than 0, not {seconds!r}")
        self.local = local
        self.remote = remote
        self.seconds = seconds
        locate(remote)  # a URL that nothing serves is an error here, not in the thread
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mox-file-sync", daemon=True)
        self._thread.start()
        atexit.register(self.stop)

    def stop(self) -> None:
        """Ends the thread and copies what is new once more. Harmless when repeated."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        self._thread.join()
        atexit.unregister(self.stop)
        self._round()

    def _run(self) -> None:
        self._round()
        while not self._stopped.wait(self.seconds):
            self._round()

    def _round(self) -> None:
        if not os.path.isdir(self.local):
            return
        from mox_core.storage import moving

        try:
            moving.sync(locate(self.local), locate(self.remote))
        except Exception as error:  # the next round may succeed
            LOG.warning("copying %s to %s failed: %s", self.local, self.remote, error)


def background_sync_copy(local: str, remote: str, seconds: float = 120) -> BackgroundSync:
    """Keeps a remote copy of a local folder up to date: a daemon thread copies what is new.

    Args:
        local: the folder.
        remote: URL of the copy.
        seconds: pause between two rounds.

    Returns:
        The running copy; `stop()` copies the rest and ends it. The end of the script does so too.
    """
    return BackgroundSync(os.fspath(local), os.fspath(remote), seconds=seconds)
