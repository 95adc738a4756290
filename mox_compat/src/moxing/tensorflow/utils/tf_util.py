"""Facts about the installed TensorFlow."""

from __future__ import annotations

from moxing._forward import forward

__all__ = [
    "version_info",
]
__getattr__, __dir__ = forward(__name__, "mox_tf.utils.tf_util", __all__)
