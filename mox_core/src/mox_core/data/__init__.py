"""Data sets without a framework: what they hold, how samples are read, in which order.

- metadata: which files, classes and how many samples there are (`ImageClassificationRawMetadata`);
- a `Source` reads samples by number (`FileSource`, `TFRecordSource`, `ArraySource`);
- an `Order` says which numbers come next, for one `Shard` of all processes;
- readers, decoding and batching stand on these, in the way that suits each engine.

No module here imports NumPy before it is used, and none is imported before its names are.
"""

from __future__ import annotations

from mox_core._lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mox_core.data.cache import LocalCache as LocalCache
    from mox_core.data.dataset import ImageClassificationRawDataset as ImageClassificationRawDataset
    from mox_core.data.dataset import (
        ImageClassificationTFRecordDataset as ImageClassificationTFRecordDataset,
    )
    from mox_core.data.dataset import ImageDataset as ImageDataset
    from mox_core.data.dataset import (
        MultilabelClassificationRawDataset as MultilabelClassificationRawDataset,
    )
    from mox_core.data.loading import SampleLoader as SampleLoader
    from mox_core.data.loading import tickets as tickets
    from mox_core.data.metadata import BaseTFRecordMetadata as BaseTFRecordMetadata
    from mox_core.data.metadata import (
        ImageClassificationRawMetadata as ImageClassificationRawMetadata,
    )
    from mox_core.data.metadata import (
        ImageClassificationTFRecordMetadata as ImageClassificationTFRecordMetadata,
    )
    from mox_core.data.metadata import (
        MultilabelClassificationRawMetadata as MultilabelClassificationRawMetadata,
    )
    from mox_core.data.order import Order as Order
    from mox_core.data.provider import DatasetMeta as DatasetMeta
    from mox_core.data.provider import DatasetProvider as DatasetProvider
    from mox_core.data.provider import TFRecordProvider as TFRecordProvider
    from mox_core.data.provider import get_dataset as get_dataset
    from mox_core.data.provider import get_dataset_meta as get_dataset_meta
    from mox_core.data.provider import get_source as get_source
    from mox_core.data.reading import AsyncRawGenerator as AsyncRawGenerator
    from mox_core.data.reading import ParallelReader as ParallelReader
    from mox_core.data.shards import Shard as Shard
    from mox_core.data.shards import current_shard as current_shard
    from mox_core.data.shards import reading_as as reading_as
    from mox_core.data.source import ArraySource as ArraySource
    from mox_core.data.source import FileSource as FileSource
    from mox_core.data.source import Sample as Sample
    from mox_core.data.source import SampleError as SampleError
    from mox_core.data.source import Source as Source
    from mox_core.data.splitting import (
        split_image_classification_dataset as split_image_classification_dataset,
    )
    from mox_core.data.tfrecord_source import ImageExample as ImageExample
    from mox_core.data.tfrecord_source import TFRecordSource as TFRecordSource

_PLACES = {
    "ArraySource": "mox_core.data.source",
    "AsyncRawGenerator": "mox_core.data.reading",
    "BaseTFRecordMetadata": "mox_core.data.metadata",
    "DatasetMeta": "mox_core.data.provider",
    "DatasetProvider": "mox_core.data.provider",
    "FileSource": "mox_core.data.source",
    "ImageClassificationRawDataset": "mox_core.data.dataset",
    "ImageClassificationRawMetadata": "mox_core.data.metadata",
    "ImageClassificationTFRecordDataset": "mox_core.data.dataset",
    "ImageClassificationTFRecordMetadata": "mox_core.data.metadata",
    "ImageDataset": "mox_core.data.dataset",
    "ImageExample": "mox_core.data.tfrecord_source",
    "LocalCache": "mox_core.data.cache",
    "MultilabelClassificationRawDataset": "mox_core.data.dataset",
    "MultilabelClassificationRawMetadata": "mox_core.data.metadata",
    "Order": "mox_core.data.order",
    "ParallelReader": "mox_core.data.reading",
    "Sample": "mox_core.data.source",
    "SampleError": "mox_core.data.source",
    "SampleLoader": "mox_core.data.loading",
    "Shard": "mox_core.data.shards",
    "Source": "mox_core.data.source",
    "TFRecordProvider": "mox_core.data.provider",
    "TFRecordSource": "mox_core.data.tfrecord_source",
    "current_shard": "mox_core.data.shards",
    "get_dataset": "mox_core.data.provider",
    "get_dataset_meta": "mox_core.data.provider",
    "get_source": "mox_core.data.provider",
    "reading_as": "mox_core.data.shards",
    "split_image_classification_dataset": "mox_core.data.splitting",
    "tickets": "mox_core.data.loading",
}

__all__ = sorted(_PLACES)

__getattr__, __dir__ = lazy_names(__name__, _PLACES)
