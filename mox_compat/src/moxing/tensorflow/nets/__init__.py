"""Networks (manual 001, 1.3.3)."""

from __future__ import annotations

from moxing._forward import forward

__all__ = [
    "NetworkKeys",
    "get_model_fn",
    "get_model_meta",
]
__getattr__, __dir__ = forward(__name__, "mox_tf", __all__)
