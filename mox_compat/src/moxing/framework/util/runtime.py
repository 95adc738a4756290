"""The process: its logging."""

from __future__ import annotations

import logging

__all__ = ["logging", "reset_logger"]


def reset_logger(level: int = logging.INFO) -> None:
    """Sets the level of mox's own log lines; the root logger is never touched."""
    logging.getLogger("mox").setLevel(level)
