"""MoXing's MXNet API: all names of `mox_mxnet`."""

from __future__ import annotations

from mox_core._lazy import lazy_names
from moxing._needs import engine

mox_mxnet = engine("mox_mxnet", "mox-mxnet")
__all__ = list(mox_mxnet.__all__)
__getattr__, __dir__ = lazy_names(__name__, {}, base="mox_mxnet")
