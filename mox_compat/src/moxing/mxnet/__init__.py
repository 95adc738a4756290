"""MoXing's MXNet API: all names of `mox_mxnet`."""

from __future__ import annotations

from moxing._forward import engine, forward

engine("mox_mxnet", "mox-mxnet")
__getattr__, __dir__ = forward(__name__, "mox_mxnet")
