"""Data sets of files (manual 001, 1.3.2.2 and 1.3.2.6)."""

from __future__ import annotations

from mox_core._lazy import lazy_names

__all__ = [
    "AsyncRawGenerator",
    "ImageClassificationRawDataset",
    "ImageClassificationRawMetadata",
    "MultilabelClassificationRawDataset",
    "MultilabelClassificationRawMetadata",
    "split_image_classification_dataset",
]
__getattr__, __dir__ = lazy_names(
    __name__, dict.fromkeys(__all__, "mox_tf.datasets.raw.raw_dataset")
)
