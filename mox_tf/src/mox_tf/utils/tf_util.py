"""Facts about the installed TensorFlow."""

from __future__ import annotations

from mox_tf.tf1 import release

__all__ = ["version_info"]


def version_info() -> tuple[int, int]:
    """Major and minor version of TensorFlow."""
    return release()
