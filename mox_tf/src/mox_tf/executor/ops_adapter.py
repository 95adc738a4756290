"""This process's place in the cluster, for scripts that divide their data by it."""

from __future__ import annotations

from mox_core.flags import get_flag

__all__ = ["rank", "size"]


def rank() -> int:
    """Number of this worker, from 0."""
    number: int = get_flag("task_index") if get_flag("worker_hosts") else get_flag("rank")
    return number


def size() -> int:
    """How many workers there are; 1 without a cluster."""
    return len(get_flag("worker_hosts").split(","))
