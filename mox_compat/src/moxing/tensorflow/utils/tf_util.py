"""Facts about the installed TensorFlow."""

from __future__ import annotations

from mox_core._lazy import lazy_names

__all__ = [
    "version_info",
]
__getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(__all__, "mox_tf.utils.tf_util"))
