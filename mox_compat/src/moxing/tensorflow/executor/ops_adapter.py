"""This process's place in the cluster."""

from __future__ import annotations

from moxing._forward import forward

__all__ = [
    "rank",
    "size",
]
__getattr__, __dir__ = forward(__name__, "mox_tf.executor.ops_adapter", __all__)
