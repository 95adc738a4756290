"""What needs no training framework."""

from __future__ import annotations

from mox_core._lazy import lazy_names

__all__ = ["file", "util"]
__getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(__all__, __name__))
