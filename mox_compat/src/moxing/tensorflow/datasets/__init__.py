"""Data sets (manual 001, 1.3.2)."""

from __future__ import annotations

from mox_core._lazy import lazy_names

__all__ = [
    "AsyncRawGenerator",
    "BaseTFRecordDataset",
    "BaseTFRecordMetadata",
    "ImageClassificationRawDataset",
    "ImageClassificationRawMetadata",
    "ImageClassificationTFRecordDataset",
    "ImageClassificationTFRecordMetadata",
    "MultilabelClassificationRawDataset",
    "MultilabelClassificationRawMetadata",
    "get_dataset",
    "get_dataset_meta",
    "get_tfrecord",
    "raw",
    "tfrecord_common",
]
_PARTS = (
    "raw",
    "tfrecord_common",
)
__getattr__, __dir__ = lazy_names(
    __name__, {**dict.fromkeys(__all__, "mox_tf.datasets"), **dict.fromkeys(_PARTS, __name__)}
)
