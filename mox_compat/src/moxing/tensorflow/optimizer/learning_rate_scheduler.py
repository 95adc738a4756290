"""Learning rates that follow the global step (manual 004, section 3)."""

from __future__ import annotations

from moxing._forward import forward

__all__ = ["linear_cosine_decay", "piecewise_lr", "polynomial_decay", "warm_up"]
__getattr__, __dir__ = forward(__name__, "mox_tf.learning_rate_scheduler", __all__)
