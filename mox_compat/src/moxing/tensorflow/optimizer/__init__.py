"""Optimizers by name (manual 004, section 3)."""

from __future__ import annotations

from mox_core._lazy import lazy_names

__all__ = [
    "get_optimizer_fn",
    "get_optimizer_wrapper_fn",
    "learning_rate_scheduler",
]
_PARTS = ("learning_rate_scheduler",)
__getattr__, __dir__ = lazy_names(
    __name__, {**dict.fromkeys(__all__, "mox_tf"), **dict.fromkeys(_PARTS, __name__)}
)
