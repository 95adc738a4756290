"""OpenCV, where it is installed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

__all__ = ["in_threads", "opencv"]

_lock = threading.Lock()
_users: list[int] = []
"""How many threads OpenCV had before, for each `in_threads` that lasts."""


@cache
def opencv() -> Any:
    """The module cv2; None where it is not installed. It is looked for once."""
    try:
        import cv2
    except ImportError:
        return None
    return cv2


@contextmanager
def in_threads() -> Iterator[None]:
    """For those who call OpenCV from several threads: meanwhile it starts no threads of its own.

    They would wait for one another, and not idly.
    """
    cv2 = opencv()
    if cv2 is None:
        yield
        return
    with _lock:
        _users.append(cv2.getNumThreads())
        cv2.setNumThreads(1)
    try:
        yield
    finally:
        with _lock:
            before = _users.pop()
            if not _users:
                cv2.setNumThreads(before)
