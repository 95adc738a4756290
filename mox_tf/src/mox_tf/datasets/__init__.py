"""Data sets as graph tensors (manual 004, section 2).

    metadata = mox.ImageClassificationRawMetadata(base_dir)
    dataset = mox.ImageClassificationRawDataset(metadata, batch_size=32, image_size=224)
    images, labels = dataset.get(["image", "label"])

What there is, in which order it is read and by which process is decided in `mox_core.data`, for all
engines; here samples become a `tf.data.Dataset`, are decoded and augmented by TensorFlow.
"""

from __future__ import annotations

from mox_core._lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mox_core.data import AsyncRawGenerator as AsyncRawGenerator
    from mox_core.data import BaseTFRecordMetadata as BaseTFRecordMetadata
    from mox_core.data import ImageClassificationRawMetadata as ImageClassificationRawMetadata
    from mox_core.data import (
        ImageClassificationTFRecordMetadata as ImageClassificationTFRecordMetadata,
    )
    from mox_core.data import (
        MultilabelClassificationRawMetadata as MultilabelClassificationRawMetadata,
    )
    from mox_core.data import ParallelReader as ParallelReader
    from mox_core.data import get_dataset_meta as get_dataset_meta
    from mox_tf.datasets.named import get_dataset as get_dataset
    from mox_tf.datasets.raw.raw_dataset import (
        ImageClassificationRawDataset as ImageClassificationRawDataset,
    )
    from mox_tf.datasets.raw.raw_dataset import (
        MultilabelClassificationRawDataset as MultilabelClassificationRawDataset,
    )
    from mox_tf.datasets.tfrecord_common import BaseTFRecordDataset as BaseTFRecordDataset
    from mox_tf.datasets.tfrecord_common import (
        ImageClassificationTFRecordDataset as ImageClassificationTFRecordDataset,
    )
    from mox_tf.datasets.tfrecord_common import get_tfrecord as get_tfrecord

_PLACES = {
    "AsyncRawGenerator": "mox_core.data",
    "BaseTFRecordDataset": "mox_tf.datasets.tfrecord_common",
    "BaseTFRecordMetadata": "mox_core.data",
    "ImageClassificationRawDataset": "mox_tf.datasets.raw.raw_dataset",
    "ImageClassificationRawMetadata": "mox_core.data",
    "ImageClassificationTFRecordDataset": "mox_tf.datasets.tfrecord_common",
    "ImageClassificationTFRecordMetadata": "mox_core.data",
    "MultilabelClassificationRawDataset": "mox_tf.datasets.raw.raw_dataset",
    "MultilabelClassificationRawMetadata": "mox_core.data",
    "ParallelReader": "mox_core.data",
    "get_dataset": "mox_tf.datasets.named",
    "get_dataset_meta": "mox_core.data",
    "get_tfrecord": "mox_tf.datasets.tfrecord_common",
}

__all__ = sorted(_PLACES)

__getattr__, __dir__ = lazy_names(__name__, _PLACES)
