"""This process's place in the cluster."""

from __future__ import annotations

from mox_core._lazy import lazy_names

__all__ = [
    "rank",
    "size",
]
__getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(__all__, "mox_tf.executor.ops_adapter"))
