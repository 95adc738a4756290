"""Runs."""

from __future__ import annotations

from moxing._forward import forward

__all__ = ["ModeKeys", "get_flag", "run", "set_flag"]
__getattr__, __dir__ = forward(__name__, "mox_torch", __all__)
