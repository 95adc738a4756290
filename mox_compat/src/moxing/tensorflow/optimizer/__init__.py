"""Optimizers by name (manual 004, section 3)."""

from __future__ import annotations

from moxing._forward import forward

__all__ = [
    "get_optimizer_fn",
    "get_optimizer_wrapper_fn",
]
__getattr__, __dir__ = forward(__name__, "mox_tf", __all__)
