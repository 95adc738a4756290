"""Runs and what they are made of (manual 004, sections 1, 2, 4)."""

from __future__ import annotations

from moxing._forward import forward

__all__ = [
    "ExportKeys",
    "ExportSpec",
    "InputSpec",
    "ModeKeys",
    "ModelSpec",
    "get_collection",
    "get_flag",
    "run",
    "set_flag",
    "var_scope",
]
__getattr__, __dir__ = forward(__name__, "mox_tf", __all__)
