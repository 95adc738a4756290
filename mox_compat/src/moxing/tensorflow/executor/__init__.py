"""Runs and what they are made of (manual 004, sections 1, 2, 4)."""

from __future__ import annotations

from mox_core._lazy import lazy_names

__all__ = [
    "ExportKeys",
    "ExportSpec",
    "InputSpec",
    "ModeKeys",
    "ModelSpec",
    "get_collection",
    "get_flag",
    "hooks",
    "ops_adapter",
    "run",
    "set_flag",
    "var_scope",
]
_PARTS = (
    "hooks",
    "ops_adapter",
)
__getattr__, __dir__ = lazy_names(
    __name__, {**dict.fromkeys(__all__, "mox_tf"), **dict.fromkeys(_PARTS, __name__)}
)
