"""MoXing's TensorFlow API: all names of `mox_tf` (manuals 001 and 004)."""

from __future__ import annotations

from moxing._forward import engine, forward

engine("mox_tf", "mox-tf")
_PARTS = ("datasets", "executor", "nets", "optimizer", "preprocessing", "utils")
__getattr__, __dir__ = forward(__name__, "mox_tf", parts=_PARTS)
