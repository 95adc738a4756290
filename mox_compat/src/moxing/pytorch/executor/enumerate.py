"""The run modes."""

from __future__ import annotations

from mox_core.spec import ModeKeys

__all__ = ["ModeKeys"]
