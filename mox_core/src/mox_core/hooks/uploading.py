"""When what a run writes goes to a remote log_dir."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mox_core.hooks.base import RunHook

if TYPE_CHECKING:
    from mox_core.running.state import RunState
    from mox_core.running.uploads import Uploader

__all__ = ["UploadHook"]


class UploadHook(RunHook):
    """Has every checkpoint stored that was saved, and with it what else the run has written.

    Args:
        uploader: stores it.
    """

    def __init__(self, uploader: Uploader) -> None:
        self._uploader = uploader

    def next_step(self, step: int) -> int | None:
        return None

    def on_checkpoint_saved(self, run: RunState, path: str) -> None:
        self._uploader.checkpoint_saved(path)
