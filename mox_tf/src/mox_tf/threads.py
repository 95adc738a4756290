"""Threads that may still run when the process ends."""

from __future__ import annotations

import atexit
import threading

__all__ = ["join_for_a_while"]

_SECONDS_AT_EXIT = 10.0


def join_for_a_while(thread: threading.Thread, seconds: float) -> None:
    """Waits for a thread; for one that takes longer, once more when the process ends.

    Python stops daemon threads where they ask for its lock. One that does so on its way out of
    TensorFlow's code aborts the process, after all work was done. So a thread that is merely slow
    gets time to end; one that waits for ever in the user's code does not ask.

    Args:
        thread: a daemon.
        seconds: how long to wait now.
    """
    thread.join(seconds)
    if thread.is_alive():
        atexit.register(thread.join, _SECONDS_AT_EXIT)
