"""Data sets of TFRecord files (manual 001, 1.3.2.4)."""

from __future__ import annotations

from mox_core._lazy import lazy_names

__all__ = [
    "BaseTFRecordDataset",
    "BaseTFRecordMetadata",
    "ImageClassificationTFRecordDataset",
    "ImageClassificationTFRecordMetadata",
    "get_tfrecord",
]
__getattr__, __dir__ = lazy_names(
    __name__, dict.fromkeys(__all__, "mox_tf.datasets.tfrecord_common")
)
