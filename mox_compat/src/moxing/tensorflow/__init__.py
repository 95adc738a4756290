"""MoXing's TensorFlow API: all names of `mox_tf` (manuals 001 and 004)."""

from __future__ import annotations

from mox_core._lazy import lazy_names
from moxing._needs import engine

mox_tf = engine("mox_tf", "mox-tf")
_PARTS = ("datasets", "executor", "nets", "optimizer", "preprocessing", "utils")
__all__ = sorted({*mox_tf.__all__, *_PARTS})
__getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(_PARTS, __name__), base="mox_tf")
