"""Preprocessing of images on TensorFlow's tensors (manual 004, section 2)."""

from __future__ import annotations

from mox_core.preprocessing.keys import PreprocessingKeys
from mox_tf.preprocessing.functions import get_data_augmentation_fn

__all__ = ["PreprocessingKeys", "get_data_augmentation_fn"]
