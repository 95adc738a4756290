"""ImageTensors: what makes a data set of `mox_core.data` give graph tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import mox_core.preprocessing.functions
from mox_core.data import FileSource, Order, ParallelReader, SampleError, Source
from mox_core.data.dataset import View
from mox_core.data.images import decode_image, has_opencv, image_size_of
from mox_core.data.reading import cores
from mox_core.errors import DataError
from mox_tf.datasets.guard import guarded
from mox_tf.datasets.streams import (
    CHANCE,
    POSITION,
    TOGETHER,
    Stream,
    fed,
    local_stream,
    reader_stream,
)
from mox_tf.failures import first_line
from mox_tf.preprocessing.decoding import decode
from mox_tf.preprocessing.functions import DataAugmentationFn
from mox_tf.tf1 import as_it_is, tf

__all__ = ["ImageTensors"]

_BATCHES_AHEAD = 2
_CONTENT = "image_buf"
"""Feature: the content of an image's file; in a stream, what the source has as `image`."""

_PATH = "path"
"""Column: a file on this machine, in place of its content."""


class ImageTensors:
    """A mixin before `mox_core.data.ImageDataset`, or a class that stands on it.

    Samples are read in the order of the data set, so that two calls of `get` give the same samples
    in the same step.
    """

    def get(self, keys: Sequence[str]) -> list[Any]:
        """Returns tensors of the next sample, or batch, one for each feature.

        Args:
            keys: features, such as `image`, `label`, `label_desc`, `image_name`.

        Raises:
            DataError: there is no such feature, or images of several sizes cannot be batched.
        """
        keys = [keys] if isinstance(keys, str) else list(keys)
        dataset = self.dataset(keys)
        with tf.name_scope("dataset"):
            element = tf.data.make_one_shot_iterator(dataset).get_next()
        return [element[key] for key in keys]

    def dataset(self, keys: Sequence[str]) -> Any:
        """The same as a `tf.data.Dataset` of dicts."""
        keys = [keys] if isinstance(keys, str) else list(keys)
        self._check(keys)
        with tf.name_scope("dataset"):
            if self.preprocess_fn is not None:
                dataset = self._preprocessed(keys)
            elif self._is_for_threads(keys):
                dataset = self._by_threads(keys)
            else:
                dataset = self._prepared(keys)
            dataset = dataset.prefetch(_BATCHES_AHEAD if self.batch_size else 1)
            options = tf.data.Options()
            if self.private_num_threads > 0:
                options.threading.private_threadpool_size = self.private_num_threads
            return dataset.with_options(options)

    # ---- Without TensorFlow: OpenCV decodes a little faster, and resizes in a tenth of the time

    def _is_for_threads(self, keys: list[str]) -> bool:
        """Whether mox_core's threads make these features faster than operations of TensorFlow."""
        if type(self).prepare is not ImageTensors.prepare or self.augmentation_fn is not None:
            return False
        if not set(keys) <= set(self._made()):
            return False
        if "image" in keys:
            return self.image_size is not None and has_opencv()
        return isinstance(self.source, FileSource) and self.source.waits

    def _made(self) -> dict[str, Any]:
        """Tensor specs of what mox_core makes of a sample."""
        specs = ImageTensors._columns(self)
        size = image_size_of(self.image_size) or (None, None)
        specs["image"] = tf.TensorSpec([*size, self.source.channels], tf.uint8)
        if self.label_one_hot:
            specs["label"] = tf.TensorSpec([self.num_classes], tf.float32)
        return specs

    def _by_threads(self, keys: list[str]) -> Any:
        """Whole batches as mox_core makes them, without samples that are damaged."""
        batched: Any = copy.copy(self)
        if self.batch_size is None:
            batched.batch_size, batched.drop_remainder = TOGETHER, False
        view = View(batched, keys)
        made = self._made()
        size = self.batch_size if self.drop_remainder else None
        specs = {
            key: tf.TensorSpec([size, *made[key].shape.as_list()], made[key].dtype) for key in keys
        }
        dataset = fed(lambda: (dict(zip(keys, batch, strict=True)) for batch in view), specs)
        return dataset.unbatch() if self.batch_size is None else dataset

    # ---- The pipeline

    def _prepared(self, keys: list[str]) -> Any:
        """Read, decoded, checked for what got lost, batched."""
        stream = self._stream(self._needed(keys))

        @as_it_is
        def prepare(sample: dict[str, Any]) -> dict[str, Any]:
            prepared = self.prepare(sample, keys)
            return {POSITION: sample[POSITION], **prepared}

        calls = self._calls() if "image" in keys else self.num_readers
        dataset = stream.dataset.map(prepare, num_parallel_calls=calls)
        if self.batch_size is not None:
            self._check_sizes(dataset)
        return self._whole(
            guarded(
                dataset,
                stream.position,
                batch_size=self.batch_size,
                on_error=self.on_error,
                reason=lambda index: self._reason(index, keys),
            )
        )

    def _preprocessed(self, keys: list[str]) -> Any:
        """Read, batched, given to the user's function."""
        features = list(self.source.features)
        names = [_CONTENT if name == "image" else name for name in features]
        stream = self._stream(names)
        dataset = guarded(
            stream.dataset.map(
                as_it_is(lambda sample: self._read(sample, features)),
                num_parallel_calls=self.num_readers,
            ),
            stream.position,
            batch_size=self.batch_size,
            on_error=self.on_error,
            reason=lambda index: self._reason(index, []),
        )
        dataset = self._whole(dataset)

        @as_it_is
        def preprocess(sample: dict[str, Any]) -> dict[str, Any]:
            returned = self.preprocess_fn(*(sample[name] for name in names))
            if not isinstance(returned, (tuple, list)) or len(returned) != len(features):
                raise DataError(
                    f"preprocess_fn has to return {len(features)} tensors: {', '.join(features)}."
                )
            done = dict(zip(features, map(tf.convert_to_tensor, returned), strict=True))
            done[_CONTENT] = sample[_CONTENT]
            if self.label_one_hot:
                done["label"] = tf.one_hot(done["label"], self.num_classes)
            return {CHANCE: sample[CHANCE], **{key: done[key] for key in {*keys, "image"}}}

        dataset = dataset.map(preprocess, num_parallel_calls=self._calls())
        if self.augmentation_fn is not None and "image" in keys:
            # One image at a time, so out of the batches and back.
            dataset = dataset.unbatch() if self.batch_size is not None else dataset
            dataset = dataset.map(
                as_it_is(lambda one: {**one, "image": self._augmented(one["image"], one[CHANCE])}),
                num_parallel_calls=self._calls(),
            )
            if self.batch_size is not None:
                dataset = dataset.batch(self.batch_size, self.drop_remainder)
        return dataset.map(as_it_is(lambda sample: {key: sample[key] for key in keys}))

    def _check_sizes(self, dataset: Any) -> None:
        shape = dataset.element_spec["image"].shape if "image" in dataset.element_spec else None
        if shape is not None and not shape.is_fully_defined():
            raise DataError(
                f"batch_size={self.batch_size} needs images of one size, which is not known.\n"
                "  Pass image_size, an augmentation_fn that gives one size, or a preprocess_fn."
            )

    def _whole(self, dataset: Any) -> Any:
        """Leaves out a last batch that is too small, if that is asked for."""
        size = self.batch_size
        if size is None or not self.drop_remainder:
            return dataset

        def has_size(sample: dict[str, Any]) -> Any:
            return tf.equal(tf.shape(tf.nest.flatten(sample)[0])[0], size)

        def with_size(sample: dict[str, Any]) -> Any:
            for tensor in tf.nest.flatten(sample):
                tensor.set_shape([size, *tensor.shape[1:]])
            return sample

        return dataset.filter(as_it_is(has_size)).map(as_it_is(with_size))

    def _calls(self) -> int:
        """Images that are decoded at a time: more than the cores can do is of no use."""
        return max(1, min(self.preprocess_threads or 2 * cores(), 2 * cores()))

    # ---- One sample

    def _check(self, keys: list[str]) -> None:
        self.loader(keys)  # it says which features there are

    def _needed(self, keys: list[str]) -> list[str]:
        """What a stream has to give for these features."""
        needed = [key for key in keys if key not in ("image", _CONTENT)]
        return [*needed, _CONTENT] if {"image", _CONTENT} & set(keys) else needed

    def _columns(self) -> dict[str, Any]:
        """Tensor specs of all that a sample of the source has."""
        source: Source = self.source
        multilabel = isinstance(source, FileSource) and source.labels.ndim > 1
        specs = {
            "image_name": tf.TensorSpec([], tf.string),
            _CONTENT: tf.TensorSpec([], tf.string),
            "label": tf.TensorSpec([source.num_classes] if multilabel else [], tf.int64),
            "label_desc": tf.TensorSpec([], tf.string),
        }
        images = getattr(source, "images", None)
        if images is not None:
            specs[_CONTENT] = tf.TensorSpec(images.shape[1:], tf.uint8)
        return specs

    def _stream(self, names: list[str]) -> Stream:
        source: Source = self.source
        specs = self._columns()
        order = self.order()
        if self.reader_class is None and isinstance(source, FileSource) and not source.waits:
            columns = {name: specs[name] for name in names if name != _CONTENT}
            if _CONTENT in names:
                columns[_PATH] = tf.TensorSpec([], tf.string)
            return local_stream(order, len(source), columns, _values(source), self.seed)
        columns = {name: specs[name] for name in names}
        return reader_stream(
            lambda: _renaming(self._reader(source, order)), order, len(source), columns, self.seed
        )

    def _reader(self, source: Source, order: Order) -> Any:
        reader_class = self.reader_class or ParallelReader
        if self.reader_class is None and not source.waits:
            return _read_inline(source, order)
        return reader_class(
            source,
            order,
            num_readers=self.num_readers,
            capacity=self.capacity,
            **self.reader_kwargs,
        )

    def _read(self, sample: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
        """Opens the file, unless its content is there; makes what the features `keys` need."""
        if _PATH in sample:
            sample = dict(sample)
            sample[_CONTENT] = tf.io.read_file(sample.pop(_PATH))
        return sample

    def prepare(self, sample: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
        """Makes the features of one sample: a function of tensors, for subclasses to extend."""
        sample = self._read(sample, keys)
        done = {key: sample[key] for key in keys if key in sample}
        if "image" in keys:
            done["image"] = self._image(sample[_CONTENT], sample[CHANCE])
        if self.label_one_hot and "label" in keys:
            done["label"] = _one_hot(sample["label"], self.num_classes)
        return done

    def _image(self, content: Any, chance: Any) -> Any:
        augment = self._augmentation()
        size = image_size_of(self.image_size)
        is_file = content.dtype == tf.string
        if is_file and size is None and isinstance(augment, DataAugmentationFn):
            return augment.decode(content, chance, self.source.channels)
        image = decode(content, self.source.channels) if is_file else content
        if size is not None:
            image = tf.image.resize_nearest_neighbor(image[tf.newaxis], size)[0]
            image.set_shape([*size, image.shape[2]])
        return self._augmented(image, chance)

    def _augmentation(self) -> Any:
        augment = self.augmentation_fn
        if isinstance(augment, mox_core.preprocessing.functions.DataAugmentationFn):
            return DataAugmentationFn(augment.augmentation, augment.seed)
        return augment

    def _augmented(self, image: Any, chance: Any) -> Any:
        augment = self._augmentation()
        if augment is None:
            return image
        if isinstance(augment, DataAugmentationFn):
            return augment(image, chance)
        return augment(image)

    # ---- What went wrong

    def _reason(self, index: int, keys: Sequence[str]) -> SampleError:
        """Finds out why a sample got lost, by doing the same once more."""
        name = self.source.name(index)
        try:
            sample = self._sample(index)
        except SampleError as error:
            return error
        why = self._known_reason(sample) or self._failure(sample, keys)
        return SampleError(name, why or "could not be read at the first try, but at the second")

    def _sample(self, index: int) -> dict[str, Any]:
        """Reads what a stream gives of a sample."""
        return _renamed(self.source.read(index))

    def _known_reason(self, sample: dict[str, Any]) -> str | None:
        """Says what is wrong with a sample better than TensorFlow does, where possible."""
        content = sample.get(_CONTENT)
        if not isinstance(content, bytes):
            return None
        try:
            decode_image(content)
        except DataError as error:
            return str(error)
        kind = _foreign(content)
        return None if kind is None else f"is a {kind} file, which TensorFlow cannot decode"

    def _failure(self, sample: dict[str, Any], keys: Sequence[str]) -> str | None:
        """TensorFlow's message for a sample, if it fails again."""
        # In a pool of its own: this is called from a thread of the session that waits for it.
        config = tf.ConfigProto(use_per_session_threads=True)
        with tf.Graph().as_default(), tf.Session(config=config) as session:
            fed = {CHANCE: tf.constant([0, 0]), POSITION: tf.constant(0, tf.int64)}
            for column, spec in self._columns().items():
                if column in sample:
                    value = sample[column]
                    value = np.asarray(value, object) if isinstance(value, bytes) else value
                    fed[column] = tf.constant(value, spec.dtype, spec.shape)
            try:
                session.run(list(self.prepare(fed, keys).values()))
            except tf.errors.OpError as error:
                return f"cannot be prepared: {first_line(error)}"
        return None


def _values(source: FileSource) -> dict[str, Callable[[Any], Any]]:
    """Name -> function of the numbers of samples to what they have, where files are local."""
    paths = np.array(source.local_paths(), object)
    names = np.array(source.names, object)

    def descriptions(indices: Any) -> Any:
        return np.array([source.description(index) for index in indices], object)

    return {
        _PATH: paths.__getitem__,
        "image_name": names.__getitem__,
        "label": source.labels.__getitem__,
        "label_desc": descriptions,
    }


def _read_inline(source: Source, order: Order) -> Iterator[Any]:
    """Samples of this machine, which are mostly in memory: waiting for threads costs more."""
    for index in order:
        try:
            yield source.read(index)
        except SampleError as error:
            yield error


def _renamed(sample: dict[str, Any]) -> dict[str, Any]:
    return {_CONTENT if name == "image" else name: value for name, value in sample.items()}


def _renaming(samples: Any) -> Any:
    samples = iter(samples)
    try:
        for sample in samples:
            yield sample if isinstance(sample, SampleError) else _renamed(sample)
    finally:
        close = getattr(samples, "close", None)
        if close is not None:
            close()


def _one_hot(label: Any, classes: int) -> Any:
    fits = tf.Assert(
        tf.logical_and(tf.greater_equal(label, 0), tf.less(label, classes)),
        [f"a label is not below {classes}, the number of classes:", label],
    )
    with tf.control_dependencies([fits]):
        return tf.one_hot(label, classes)


def _foreign(content: bytes) -> str | None:
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WebP"
    return "TIFF" if content[:4] in (b"II*\0", b"MM\0*") else None
