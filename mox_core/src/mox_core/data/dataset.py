"""Data sets as scripts use them: batches of NumPy arrays from a source."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from functools import partial
from itertools import islice
from typing import Any

from mox_core._opencv import in_threads
from mox_core.data.cache import LocalCache
from mox_core.data.loading import BadSamples, SampleLoader, stack, tickets
from mox_core.data.metadata import (
    BaseTFRecordMetadata,
    ImageClassificationRawMetadata,
    MultilabelClassificationRawMetadata,
)
from mox_core.data.order import Order
from mox_core.data.reading import cores, parallel_map, prefetched
from mox_core.data.shards import Shard, scope
from mox_core.data.source import Sample, SampleError, Source
from mox_core.data.tfrecord_source import ImageExample
from mox_core.errors import DataError
from mox_core.storage.urls import is_remote

__all__ = [
    "ImageClassificationRawDataset",
    "ImageClassificationTFRecordDataset",
    "ImageDataset",
    "MultilabelClassificationRawDataset",
    "View",
]

_BATCHES_AHEAD = 2


class ImageDataset:
    """Batches of any source of images: what `get_dataset` returns, and what the others stand on.

        dataset = ImageDataset(source, batch_size=32, image_size=224)
        for images, labels in dataset.get(["image", "label"]):
            ...

    An input_fn of `mox.run` returns `dataset.get([...])`, or the data set itself for image and
    label. Inside it, each process reads its part of the training data.

    Args:
        source: what is read.
        batch_size: samples per batch; None: single samples, for `mox.run(auto_batch=True)`.
        num_readers: threads that read, or processes of reader_class.
        num_epochs: after how many epochs to end; None: never.
        shuffle: whether each epoch has another order.
        shuffle_buffer_size: samples to draw from, where records lie together in large files; files
            of one image each are shuffled as a whole.
        capacity: samples that are read ahead, at most.
        preprocess_fn: takes over decoding: gets the source's features, such as image_name,
            image_buf, label, label_desc, and returns as many. They have a first dimension of
            batch_size, if there is one; texts and contents of files come as arrays of objects.
        preprocess_threads: threads that decode, or call it; None: as many as the cores keep busy.
        image_size: height and width that images get, by the nearest pixel: a number or two.
        private_num_threads: threads that read and decode; 0: as many as suit.
        reader_class: reads in another way than by threads, such as `AsyncRawGenerator`.
        reader_kwargs: further arguments of it.
        drop_remainder: leave out what is too little for a last batch.
        augmentation_fn: image -> image, for each, such as `get_data_augmentation_fn` returns. When
            it has an argument `rng`, it gets a `numpy.random.Generator` made of the seed, the epoch
            and the image's number.
        label_one_hot: labels as float32 [num_classes], of which one is 1.
        seed: of the order and of the random numbers.
        shard: which part to read; None: see `current_shard`.
        on_error: `stop` at a sample that cannot be read, or `skip` and count such samples.
        first_epoch: number of the first epoch; each has another order.

    Attributes:
        source: what is read.
        num_samples: samples of all shards.

    Raises:
        DataError: an argument does not fit.
    """

    def __init__(
        self,
        source: Source,
        batch_size: int | None = None,
        *,
        num_readers: int = 8,
        num_epochs: int | None = None,
        shuffle: bool = True,
        shuffle_buffer_size: int = 6400,
        capacity: int = 256,
        preprocess_fn: Callable[..., Any] | None = None,
        preprocess_threads: int | None = None,
        image_size: Any = None,
        private_num_threads: int = 0,
        reader_class: Callable[..., Iterable[Any]] | None = None,
        reader_kwargs: Mapping[str, Any] | None = None,
        drop_remainder: bool = False,
        augmentation_fn: Callable[..., Any] | None = None,
        label_one_hot: bool = False,
        seed: int = 0,
        shard: Shard | None = None,
        on_error: str = "stop",
        first_epoch: int = 0,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("num_epochs", num_epochs)):
            if value is not None and (type(value) is not int or value < 1):
                raise DataError(f"{name} is {value!r}: give a number above 0, or None.")
        for name, number in (("num_readers", num_readers), ("capacity", capacity)):
            if type(number) is not int or number < 1:
                raise DataError(f"{name} is {number!r}: give a number above 0.")
        BadSamples(on_error)
        self.source = source
        self.num_samples = len(source)
        self.batch_size = batch_size
        self.num_readers = num_readers
        self.capacity = capacity
        self.preprocess_fn = preprocess_fn
        self.preprocess_threads = preprocess_threads
        self.image_size = image_size
        self.private_num_threads = private_num_threads
        self.reader_class = reader_class
        self.reader_kwargs = dict(reader_kwargs or {})
        self.drop_remainder = drop_remainder
        self.augmentation_fn = augmentation_fn
        self.label_one_hot = label_one_hot
        self.seed = seed
        self.on_error = on_error
        self._make_order = partial(
            Order,
            source,
            shuffle=shuffle,
            seed=seed,
            num_epochs=num_epochs,
            first_epoch=first_epoch,
            buffer_size=shuffle_buffer_size,
        )
        self._shard = shard
        self._made_as = scope()

    @property
    def num_classes(self) -> int:
        """How many classes there are; 0 when it is not known."""
        return self.source.num_classes

    @property
    def labels_to_names(self) -> Mapping[int, str]:
        """Label -> name; may be empty."""
        return self.source.labels_to_names

    def order(self) -> Order:
        """The order of the samples that this process reads."""
        return self._make_order(shard=self._shard or scope() or self._made_as or self._usual())

    def _usual(self) -> Shard:
        """The part that a data set reads which no input_fn has made."""
        return Shard()

    def loader(self, keys: Sequence[str]) -> SampleLoader:
        """What makes a sample of its number: for a reader of an engine's own."""
        return SampleLoader(
            self.source,
            keys,
            image_size=self.image_size,
            augmentation_fn=self.augmentation_fn,
            label_one_hot=self.label_one_hot,
            seed=self.seed,
        )

    def get(self, keys: Sequence[str]) -> Any:
        """What an input_fn returns: an iterable over batches (or samples) of these features.

        Args:
            keys: features of the source, such as `image`, `label`, `label_desc`, `image_name`; and
                `image_buf`, the content of the image's file.

        Returns:
            Something to iterate over, as often as wanted: lists of arrays, in the order of the
            keys.

        Raises:
            DataError: there is no such feature.
        """
        return View(self, keys)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.get(["image", "label"]))


class View:
    """Some features of a data set, batch by batch.

    Args:
        dataset: what is read.
        keys: the features.

    `len` gives the number of batches, when num_epochs says where the end is.
    """

    def __init__(self, dataset: ImageDataset, keys: Sequence[str]) -> None:
        self._dataset = dataset
        self._keys = [keys] if isinstance(keys, str) else list(keys)
        self._loader = dataset.loader(self._keys)
        self._order = dataset.order()

    def __iter__(self) -> Iterator[list[Any]]:
        if self._dataset.batch_size is None:
            return self._batches()
        return prefetched(self._batches(), _BATCHES_AHEAD)

    def __len__(self) -> int:
        size = self._dataset.batch_size
        drop = self._dataset.drop_remainder and size is not None
        return self._order.batches(size or 1, drop_remainder=drop)

    def _batches(self) -> Iterator[list[Any]]:
        dataset = self._dataset
        bad = BadSamples(dataset.on_error)
        make = self._prepared if dataset.preprocess_fn is None else self._preprocessed
        threads = in_threads() if "image" in self._keys else nullcontext()
        with threads, closing(make(bad)) as batches:  # type: ignore[type-var]
            yield from batches

    def _prepared(self, bad: BadSamples) -> Iterator[list[Any]]:
        """Samples are read and decoded by the same threads, then batched."""
        dataset = self._dataset
        numbers = tickets(self._order, dataset.num_samples)
        load: Callable[[Any], Sample] = self._loader
        if dataset.reader_class is not None:
            load, numbers = self._prepare, self._read_elsewhere()  # type: ignore[assignment]
        samples = parallel_map(load, numbers, threads=self._threads(), ahead=dataset.capacity)
        with closing(samples):  # type: ignore[type-var]
            for group in self._groups(self._good(samples, bad)):
                if dataset.batch_size is None:
                    yield [group[0][key] for key in self._keys]
                else:
                    yield stack(group, self._keys)

    def _preprocessed(self, bad: BadSamples) -> Iterator[list[Any]]:
        """Samples are read, batched, and given to the user's function."""
        dataset = self._dataset
        numbers = tickets(self._order, dataset.num_samples)
        read: Iterator[Any]
        if dataset.reader_class is None:
            read = parallel_map(self._raw, numbers, threads=self._threads(), ahead=dataset.capacity)
        else:
            read = (_paired(pair) for pair in self._read_elsewhere())
        groups = self._groups(self._good(read, bad))
        size = dataset.batch_size or 1
        done = parallel_map(
            self._preprocess,
            groups,
            threads=min(dataset.preprocess_threads or 2 * cores(), 2 * cores()),
            ahead=max(2, dataset.capacity // size),
        )
        with closing(read), closing(done):  # type: ignore[type-var]
            for batch in done:
                if isinstance(batch, SampleError):
                    raise batch
                yield batch

    def _groups(self, samples: Iterator[Any]) -> Iterator[list[Any]]:
        dataset = self._dataset
        size = dataset.batch_size or 1
        while group := list(islice(samples, size)):
            if len(group) == size or not dataset.drop_remainder:
                yield group

    def _good(self, samples: Iterable[Any], bad: BadSamples) -> Iterator[Any]:
        """The samples without those that cannot be read."""
        seen = in_a_row = 0
        try:
            for sample in samples:
                seen += 1
                if not isinstance(sample, SampleError):
                    in_a_row = 0
                    yield sample
                    continue
                bad.met(sample)
                in_a_row += 1
                if in_a_row >= len(self._order):
                    raise DataError(f"no sample can be read; the last one: {sample}")
        finally:
            bad.report(seen)

    def _read_elsewhere(self) -> Iterator[tuple[int, Any]]:
        """Tickets, and the samples that a reader of the user's choice has read."""
        dataset = self._dataset
        assert dataset.reader_class is not None
        reader = dataset.reader_class(
            dataset.source,
            self._order,
            num_readers=dataset.num_readers,
            capacity=dataset.capacity,
            **dataset.reader_kwargs,
        )
        return zip(tickets(self._order, dataset.num_samples), reader, strict=True)

    def _prepare(self, pair: tuple[int, Any]) -> Sample:
        ticket, sample = pair
        if isinstance(sample, SampleError):
            raise sample
        epoch, index = divmod(ticket, self._dataset.num_samples)
        return self._loader.prepare(sample, epoch, index)

    def _raw(self, ticket: int) -> tuple[int, Sample]:
        return ticket, self._dataset.source.read(ticket % self._dataset.num_samples)

    def _preprocess(self, group: list[tuple[int, Sample]]) -> list[Any]:
        dataset = self._dataset
        features = dataset.source.features
        assert dataset.preprocess_fn is not None
        batched = dataset.batch_size is not None
        samples = [sample for _, sample in group]
        given = stack(samples, features) if batched else [samples[0][key] for key in features]
        returned = dataset.preprocess_fn(*given)
        if not isinstance(returned, (tuple, list)) or len(returned) != len(features):
            raise DataError(
                f"preprocess_fn has to return {len(features)} values: {', '.join(features)}."
            )
        values: dict[str, Any] = dict(zip(features, returned, strict=True))
        values["image_buf"] = given[features.index("image")]
        if dataset.augmentation_fn is not None:
            values["image"] = self._augmented(values["image"], [t for t, _ in group], batched)
        if dataset.label_one_hot:
            values["label"] = _one_hot(values["label"], dataset.num_classes)
        return [values[key] for key in self._keys]

    def _augmented(self, images: Any, numbers: list[int], batched: bool) -> Any:
        import numpy as np

        total = self._dataset.num_samples
        done = [
            self._loader.augment(image, *divmod(ticket, total))
            for image, ticket in zip(images if batched else [images], numbers, strict=True)
        ]
        return np.stack(done) if batched else done[0]

    def _threads(self) -> int:
        """Decoding keeps as many threads busy as there are cores; waiting for a store, more."""
        dataset = self._dataset
        if dataset.private_num_threads > 0:
            return dataset.private_num_threads
        if dataset.reader_class is None and dataset.source.waits:
            return max(dataset.num_readers, cores())
        wanted = dataset.preprocess_threads
        return cores() + 1 if wanted is None else min(max(dataset.num_readers, wanted), cores() + 1)


def _paired(pair: tuple[int, Any]) -> Any:
    ticket, sample = pair
    return sample if isinstance(sample, SampleError) else (ticket, sample)


def _one_hot(labels: Any, num_classes: int) -> Any:
    import numpy as np

    return np.eye(num_classes, dtype=np.float32)[labels]


def make_cache(
    cache_dir: str | os.PathLike[str] | None, folder: str, *, remove: bool
) -> LocalCache | None:
    """The cache of a data set; None where there is nothing to gain, because the data are local."""
    if cache_dir is None or not is_remote(folder):
        return None
    return LocalCache(cache_dir, folder, remove_on_exit=remove)


class ImageClassificationRawDataset(ImageDataset):
    """The images of a folder with a folder per class (manual 001, section 1.3.2.3).

    Features: `image_name`, `image`, `label`, `label_desc`, `image_buf`.

    Args:
        metadata: what there is.
        batch_size: see ImageDataset, as all others.
        num_readers: threads that read, or processes of reader_class.
        num_epochs: after how many epochs to end; None: never.
        shuffle: whether each epoch has another order.
        shuffle_buffer_size: accepted; all files are shuffled as a whole.
        capacity: samples that are read ahead, at most.
        cache_dir: local folder that keeps copies of remote files; `ENV`: what DLS_LOCAL_CACHE_PATH
            says.
        preprocess_fn: image_name, image_buf, label, label_desc -> the same four.
        preprocess_threads: threads that decode, or call it; None: as many as the cores keep busy.
        image_size: height and width that images get.
        remove_cache_on_finish: remove the copies when the last process that uses them ends.
        private_num_threads: threads that read and decode; 0: as many as suit.
        reader_class: reads in another way than by threads, such as `AsyncRawGenerator`.
        reader_kwargs: further arguments of it.
        drop_remainder: leave out what is too little for a last batch.
        augmentation_fn: image -> image.
        label_one_hot: labels as float32 [num_classes].
        more: `seed`, `shard`, `on_error`, `first_epoch` of ImageDataset.
    """

    def __init__(
        self,
        metadata: ImageClassificationRawMetadata,
        batch_size: int | None = None,
        num_readers: int = 8,
        num_epochs: int | None = None,
        shuffle: bool = True,
        shuffle_buffer_size: int = 16,
        capacity: int = 256,
        cache_dir: str | os.PathLike[str] | None = None,
        preprocess_fn: Callable[..., Any] | None = None,
        preprocess_threads: int | None = None,
        image_size: Any = None,
        remove_cache_on_finish: bool = True,
        private_num_threads: int = 0,
        reader_class: Callable[..., Iterable[Any]] | None = None,
        reader_kwargs: Mapping[str, Any] | None = None,
        drop_remainder: bool = False,
        augmentation_fn: Callable[..., Any] | None = None,
        label_one_hot: bool = False,
        **more: Any,
    ) -> None:
        cache = make_cache(cache_dir, metadata.data_dir, remove=remove_cache_on_finish)
        super().__init__(
            metadata.source(cache),
            batch_size,
            num_readers=num_readers,
            num_epochs=num_epochs,
            shuffle=shuffle,
            shuffle_buffer_size=shuffle_buffer_size,
            capacity=capacity,
            preprocess_fn=preprocess_fn,
            preprocess_threads=preprocess_threads,
            image_size=image_size,
            private_num_threads=private_num_threads,
            reader_class=reader_class,
            reader_kwargs=reader_kwargs,
            drop_remainder=drop_remainder,
            augmentation_fn=augmentation_fn,
            label_one_hot=label_one_hot,
            **more,
        )
        self.metadata = metadata


class MultilabelClassificationRawDataset(ImageDataset):
    """Images with several labels each (manual 001, section 1.3.2.7).

    Features: `image_name`, `image`, `label` (int64 [num_classes] of zeros and ones), `label_desc`
    (the names, separated by commas), `image_buf`.

    Args:
        metadata: what there is.
        batch_size: see ImageDataset, as all others.
        num_readers: threads that read, or processes of reader_class.
        num_epochs: after how many epochs to end; None: never.
        shuffle: whether each epoch has another order.
        shuffle_buffer_size: accepted; all files are shuffled as a whole.
        capacity: samples that are read ahead, at most.
        cache_dir: local folder that keeps copies of remote files; `ENV`: what DLS_LOCAL_CACHE_PATH
            says.
        preprocess_fn: image_name, image_buf, label, label_desc -> the same four.
        preprocess_threads: threads that decode, or call it; None: as many as the cores keep busy.
        image_size: height and width that images get.
        remove_cache_on_finish: remove the copies when the last process that uses them ends.
        private_num_threads: threads that read and decode; 0: as many as suit.
        reader_class: reads in another way than by threads, such as `AsyncRawGenerator`.
        reader_kwargs: further arguments of it.
        drop_remainder: leave out what is too little for a last batch.
        label_sep: what stands between two names in a file of labels.
        skip_label_not_found: leave out images that have no file of labels.
        augmentation_fn: image -> image.
        more: `seed`, `shard`, `on_error`, `first_epoch` of ImageDataset.
    """

    def __init__(
        self,
        metadata: MultilabelClassificationRawMetadata,
        batch_size: int | None = None,
        num_readers: int = 8,
        num_epochs: int | None = None,
        shuffle: bool = True,
        shuffle_buffer_size: int = 16,
        capacity: int = 256,
        cache_dir: str | os.PathLike[str] | None = None,
        preprocess_fn: Callable[..., Any] | None = None,
        preprocess_threads: int | None = None,
        image_size: Any = None,
        remove_cache_on_finish: bool = True,
        private_num_threads: int = 0,
        reader_class: Callable[..., Iterable[Any]] | None = None,
        reader_kwargs: Mapping[str, Any] | None = None,
        drop_remainder: bool = False,
        label_sep: str = "\n",
        skip_label_not_found: bool = False,
        augmentation_fn: Callable[..., Any] | None = None,
        **more: Any,
    ) -> None:
        cache = make_cache(cache_dir, metadata.data_dir, remove=remove_cache_on_finish)
        super().__init__(
            metadata.source(cache, label_sep=label_sep, skip_label_not_found=skip_label_not_found),
            batch_size,
            num_readers=num_readers,
            num_epochs=num_epochs,
            shuffle=shuffle,
            shuffle_buffer_size=shuffle_buffer_size,
            capacity=capacity,
            preprocess_fn=preprocess_fn,
            preprocess_threads=preprocess_threads,
            image_size=image_size,
            private_num_threads=private_num_threads,
            reader_class=reader_class,
            reader_kwargs=reader_kwargs,
            drop_remainder=drop_remainder,
            augmentation_fn=augmentation_fn,
            **more,
        )
        self.metadata = metadata


class ImageClassificationTFRecordDataset(ImageDataset):
    """Images and labels in TFRecord files (manual 001, section 1.3.2.5).

    Features: `image`, `label`, `label_desc`, `image_buf`, and custom_feature_keys. Records have
    TF-slim's features `image/encoded`, `image/class/label`, and may have `image/format` (`raw`
    with `image/height` and `image/width`) and `image/class/text`.

    Args:
        metadata: what there is.
        batch_size: see ImageDataset, as all others.
        shuffle: whether each epoch has another order.
        shuffle_buffer_size: samples to draw from.
        num_parallel: threads that read.
        num_epochs: after how many epochs to end; None: never.
        cache_dir: local folder that keeps copies of what was read of remote files; `ENV`: what
            DLS_LOCAL_CACHE_PATH says.
        preprocess_fn: image_buf, label, label_desc and custom features -> as many.
        image_size: height and width that images get.
        remove_cache_on_finish: remove the copies when the last process that uses them ends.
        private_num_threads: threads that read and decode; 0: as many as suit.
        custom_feature_keys: further features of the records, which come as arrays, by their keys.
        custom_feature_values: accepted: the types are in the records.
        drop_remainder: leave out what is too little for a last batch.
        augmentation_fn: image -> image.
        label_one_hot: labels as float32 [num_classes].
        more: `capacity`, `seed`, `shard`, `on_error`, `first_epoch` of ImageDataset.
    """

    def __init__(
        self,
        metadata: BaseTFRecordMetadata | None = None,
        batch_size: int | None = None,
        shuffle: bool = True,
        shuffle_buffer_size: int = 6400,
        num_parallel: int = 8,
        num_epochs: int | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        preprocess_fn: Callable[..., Any] | None = None,
        image_size: Any = None,
        remove_cache_on_finish: bool = True,
        private_num_threads: int = 0,
        custom_feature_keys: Sequence[str] | None = None,
        custom_feature_values: Any = None,
        drop_remainder: bool = False,
        augmentation_fn: Callable[..., Any] | None = None,
        label_one_hot: bool = False,
        *,
        meta: BaseTFRecordMetadata | None = None,
        **more: Any,
    ) -> None:
        metadata = metadata or meta  # the manual's example says meta=
        if metadata is None:
            raise DataError("metadata says what to read: an ImageClassificationTFRecordMetadata.")
        cache = make_cache(cache_dir, metadata.data_dir, remove=remove_cache_on_finish)
        keys = {key: key for key in custom_feature_keys or ()}
        source = metadata.source(
            cache,
            skip_damaged=more.get("on_error") == "skip",
            parse=ImageExample(metadata.labels_to_names, more=keys),
        )
        super().__init__(
            source,
            batch_size,
            num_readers=num_parallel,
            num_epochs=num_epochs,
            shuffle=shuffle,
            shuffle_buffer_size=shuffle_buffer_size,
            preprocess_fn=preprocess_fn,
            image_size=image_size,
            private_num_threads=private_num_threads,
            drop_remainder=drop_remainder,
            augmentation_fn=augmentation_fn,
            label_one_hot=label_one_hot,
            **more,
        )
        self.metadata = metadata
