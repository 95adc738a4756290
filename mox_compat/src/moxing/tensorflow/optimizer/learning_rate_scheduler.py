"""Learning rates that follow the global step (manual 004, section 3)."""

from __future__ import annotations

from mox_core._lazy import lazy_names

__all__ = ["linear_cosine_decay", "piecewise_lr", "polynomial_decay", "warm_up"]
__getattr__, __dir__ = lazy_names(
    __name__, dict.fromkeys(__all__, "mox_tf.learning_rate_scheduler")
)
