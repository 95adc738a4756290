"""MoXing's PyTorch API: all names of `mox_torch` (docs/torch.md)."""

from __future__ import annotations

from mox_core._lazy import lazy_names
from moxing._needs import engine

mox_torch = engine("mox_torch", "mox-torch")
_PARTS = ("dist", "executor", "tools", "utils")
__all__ = sorted({*mox_torch.__all__, *_PARTS})
__getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(_PARTS, __name__), base="mox_torch")
