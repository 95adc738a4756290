"""Runs."""

from __future__ import annotations

from mox_core._lazy import lazy_names

__all__ = ["ModeKeys", "get_flag", "run", "set_flag"]
__getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(__all__, "mox_torch"))
