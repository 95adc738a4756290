"""Folders of images as graph tensors (manual 001, sections 1.3.2.3 and 1.3.2.7)."""

from __future__ import annotations

import mox_core.data
from mox_core.data import (
    AsyncRawGenerator,
    ImageClassificationRawMetadata,
    MultilabelClassificationRawMetadata,
    split_image_classification_dataset,
)
from mox_tf.datasets.image_tensors import ImageTensors

__all__ = [
    "AsyncRawGenerator",
    "ImageClassificationRawDataset",
    "ImageClassificationRawMetadata",
    "MultilabelClassificationRawDataset",
    "MultilabelClassificationRawMetadata",
    "split_image_classification_dataset",
]


class ImageClassificationRawDataset(ImageTensors, mox_core.data.ImageClassificationRawDataset):
    """The images of a folder with a folder per class, as graph tensors.

    The arguments are those of `mox_core.data.ImageClassificationRawDataset`, with functions of
    tensors: augmentation_fn gets an image [height, width, 3], uint8, and preprocess_fn the tensors
    image_name, image_buf, label and label_desc, with a first dimension of batch_size if there is
    one.
    """


class MultilabelClassificationRawDataset(
    ImageTensors, mox_core.data.MultilabelClassificationRawDataset
):
    """Images with several labels each, as graph tensors; a label is int64 [num_classes].

    The arguments are those of `mox_core.data.MultilabelClassificationRawDataset`, with functions of
    tensors, as in ImageClassificationRawDataset.
    """
