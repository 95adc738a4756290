"""Augmentation of images (manual 001, 1.3.2.8)."""

from __future__ import annotations

from mox_core._lazy import lazy_names

__all__ = [
    "PreprocessingKeys",
    "get_data_augmentation_fn",
]
__getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(__all__, "mox_tf"))
