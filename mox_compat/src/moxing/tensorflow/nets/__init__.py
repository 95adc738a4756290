"""Networks (manual 001, 1.3.3)."""

from __future__ import annotations

from mox_core._lazy import lazy_names

__all__ = [
    "NetworkKeys",
    "get_model_fn",
    "get_model_meta",
]
__getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(__all__, "mox_tf"))
