"""Data sets (manual 001, 1.3.2)."""

from __future__ import annotations

from mox_core._lazy import lazy_names

__all__ = [
    "AsyncRawGenerator",
    "ImageClassificationRawDataset",
    "ImageClassificationRawMetadata",
    "ImageClassificationTFRecordDataset",
    "ImageClassificationTFRecordMetadata",
    "MultilabelClassificationRawDataset",
    "MultilabelClassificationRawMetadata",
    "get_dataset",
    "get_dataset_meta",
    "raw",
    "tfrecord_common",
]
_PARTS = (
    "raw",
    "tfrecord_common",
)
__getattr__, __dir__ = lazy_names(
    __name__, {**dict.fromkeys(__all__, "mox_tf"), **dict.fromkeys(_PARTS, __name__)}
)
