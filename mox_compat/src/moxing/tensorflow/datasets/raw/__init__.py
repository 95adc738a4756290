"""Data sets of files."""

from __future__ import annotations

from mox_core._lazy import lazy_names

__all__ = [
    "raw_dataset",
]
_PARTS = ("raw_dataset",)
__getattr__, __dir__ = lazy_names(
    __name__, {**dict.fromkeys(__all__, "mox_tf"), **dict.fromkeys(_PARTS, __name__)}
)
