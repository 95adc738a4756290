"""Data sets without a framework: what they hold, how samples are read, in which order.

- metadata: which files, classes and how many samples there are (`ImageClassificationRawMetadata`);
- a `Source` reads samples by number (`FileSource`, `TFRecordSource`, `ArraySource`);
- an `Order` says which numbers come next, for one `Shard` of all processes;
- readers, decoding and batching stand on these, in the way that suits each engine.

No module here imports NumPy before it is used.
"""

from __future__ import annotations

from mox_core.data.cache import LocalCache
from mox_core.data.dataset import (
    ImageClassificationRawDataset,
    ImageClassificationTFRecordDataset,
    ImageDataset,
    MultilabelClassificationRawDataset,
)
from mox_core.data.loading import SampleLoader, tickets
from mox_core.data.metadata import (
    BaseTFRecordMetadata,
    ImageClassificationRawMetadata,
    ImageClassificationTFRecordMetadata,
    MultilabelClassificationRawMetadata,
)
from mox_core.data.order import Order
from mox_core.data.provider import (
    DatasetMeta,
    DatasetProvider,
    TFRecordProvider,
    get_dataset,
    get_dataset_meta,
    get_source,
)
from mox_core.data.reading import AsyncRawGenerator, ParallelReader
from mox_core.data.shards import Shard, current_shard, reading_as
from mox_core.data.source import ArraySource, FileSource, Sample, SampleError, Source
from mox_core.data.splitting import split_image_classification_dataset
from mox_core.data.tfrecord_source import ImageExample, TFRecordSource

__all__ = [
    "ArraySource",
    "AsyncRawGenerator",
    "BaseTFRecordMetadata",
    "DatasetMeta",
    "DatasetProvider",
    "FileSource",
    "ImageClassificationRawDataset",
    "ImageClassificationRawMetadata",
    "ImageClassificationTFRecordDataset",
    "ImageClassificationTFRecordMetadata",
    "ImageDataset",
    "ImageExample",
    "LocalCache",
    "MultilabelClassificationRawDataset",
    "MultilabelClassificationRawMetadata",
    "Order",
    "ParallelReader",
    "Sample",
    "SampleError",
    "SampleLoader",
    "Shard",
    "Source",
    "TFRecordProvider",
    "TFRecordSource",
    "current_shard",
    "get_dataset",
    "get_dataset_meta",
    "get_source",
    "reading_as",
    "split_image_classification_dataset",
    "tickets",
]
