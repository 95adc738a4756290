"""What has to survive a restart of a `torch.optim.lr_scheduler`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["load_scheduler", "scheduler_state"]


def scheduler_state(scheduler: Any) -> dict[str, Any] | None:
    """The state as JSON; None when there is no scheduler.

    The optimizer's rates belong to it: most schedulers compute the next from the last.
    """
    if scheduler is None:
        return None
    rates = [float(group["lr"]) for group in scheduler.optimizer.param_groups]
    return {"state": scheduler.state_dict(), "rates": rates}


def load_scheduler(scheduler: Any, saved: Mapping[str, Any] | None) -> None:
    """Gives a scheduler its state back, where both are there."""
    if scheduler is None or not saved:
        return
    scheduler.load_state_dict(saved["state"])
    for group, rate in zip(scheduler.optimizer.param_groups, saved["rates"], strict=False):
        group["lr"] = rate
