"""MoXing's PyTorch API: all names of `mox_torch` (docs/torch.md)."""

from __future__ import annotations

from moxing._forward import engine, forward

engine("mox_torch", "mox-torch")
_PARTS = ("executor", "tools", "utils")
__getattr__, __dir__ = forward(__name__, "mox_torch", parts=_PARTS)
