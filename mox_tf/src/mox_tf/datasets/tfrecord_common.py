"""TFRecord files as graph tensors (manual 001, section 1.3.2.5), and the base of one's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import mox_core.data
from mox_core.data import (
    BaseTFRecordMetadata,
    ImageClassificationTFRecordMetadata,
    ImageDataset,
    Sample,
    SampleError,
    TFRecordSource,
)
from mox_core.data.dataset import make_cache
from mox_core.data.example import parse_example
from mox_core.data.tfrecord_source import missing_feature
from mox_core.errors import DataError
from mox_tf.datasets.image_tensors import ImageTensors
from mox_tf.datasets.streams import CHANCE, POSITION, Stream, reader_stream
from mox_tf.tf1 import tf

__all__ = [
    "BaseTFRecordDataset",
    "BaseTFRecordMetadata",
    "ImageClassificationTFRecordDataset",
    "ImageClassificationTFRecordMetadata",
    "get_tfrecord",
]

_RECORD = "record"
"""Column: a serialized tf.Example."""

_IMAGE, _HEIGHT, _WIDTH, _LABEL, _TEXT = (
    "image/encoded",
    "image/height",
    "image/width",
    "image/class/label",
    "image/class/text",
)


def as_record(data: bytes) -> Sample:
    """A record as it is."""
    return {_RECORD: data}


class _RecordTensors(ImageTensors):
    """A mixin for data sets over a TFRecordSource, whose records TensorFlow parses."""

    source: TFRecordSource

    def _columns(self) -> dict[str, Any]:
        return {_RECORD: tf.TensorSpec([], tf.string)}

    def _stream(self, names: list[str]) -> Stream:
        order = self.order()
        records = self.source.with_parse(as_record)
        return reader_stream(
            lambda: self._reader(records, order), order, len(records), self._columns(), self.seed
        )

    def _sample(self, index: int) -> dict[str, Any]:
        return self.source.with_parse(as_record).read(index)

    def parsing(self) -> dict[str, Any]:
        """Key -> what `tf.parse_single_example` is told about it."""
        raise NotImplementedError

    def _known_reason(self, sample: dict[str, Any]) -> str | None:
        try:
            features = parse_example(sample[_RECORD])
            for key, how in self.parsing().items():
                required = isinstance(how, tf.FixedLenFeature) and how.default_value is None
                if required and not len(features.get(key, ())):
                    raise missing_feature(features, key)
        except DataError as error:
            return str(error)
        return self._known_reason_of(features)

    def _known_reason_of(self, features: Mapping[str, Any]) -> str | None:
        return None


class ImageRecordTensors(_RecordTensors):
    """A mixin for data sets of images and labels in TFRecord files, with TF-slim's features."""

    _custom: Mapping[str, Any] = {}

    def parsing(self) -> dict[str, Any]:
        """Key -> what `tf.parse_single_example` is told about it."""
        return {
            _IMAGE: tf.FixedLenFeature([], tf.string),
            _HEIGHT: tf.FixedLenFeature([], tf.int64, 0),
            _WIDTH: tf.FixedLenFeature([], tf.int64, 0),
            _LABEL: tf.FixedLenFeature([], tf.int64),
            _TEXT: tf.FixedLenFeature([], tf.string, ""),
            **self._custom,
        }

    def _is_for_threads(self, keys: list[str]) -> bool:
        return self._raw_channels is None and super()._is_for_threads(keys)

    def _read(self, sample: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
        """Parses of the record what is needed: the rest takes time, too."""
        needed = self.parsing()
        if self._raw_channels is None:
            del needed[_HEIGHT], needed[_WIDTH]
        if "label_desc" not in keys:
            del needed[_TEXT]
        values = tf.parse_single_example(sample[_RECORD], needed)
        content = values[_IMAGE]
        if self._raw_channels is not None:
            size = tf.stack([values[_HEIGHT], values[_WIDTH], self._raw_channels])
            content = tf.reshape(tf.decode_raw(content, tf.uint8), size)
            content.set_shape([None, None, self._raw_channels])
        return {
            POSITION: sample[POSITION],
            CHANCE: sample[CHANCE],
            "image_buf": content,
            "label": values[_LABEL],
            **({"label_desc": self._description(values)} if _TEXT in values else {}),
            **{key: values[key] for key in self._custom},
        }

    def _known_reason_of(self, features: Mapping[str, Any]) -> str | None:
        return super(_RecordTensors, self)._known_reason({"image_buf": features[_IMAGE][0]})

    @cached_property
    def _first(self) -> Sample:
        """The first sample that can be read: what the others look like."""
        for index in range(len(self.source)):
            try:
                return self.source.read(index)
            except SampleError:
                if self.on_error == "stop":
                    raise
        return {}

    @property
    def _raw_channels(self) -> int | None:
        """Channels of images that are raw pixels in the records; None: they are files."""
        image = self._first.get("image")
        return None if isinstance(image, bytes) or image is None else int(image.shape[2])

    def _description(self, values: Mapping[str, Any]) -> Any:
        label, text = values[_LABEL], values[_TEXT]
        names = [self.labels_to_names.get(label, "") for label in range(self.num_classes)] + [""]
        known = tf.logical_and(label >= 0, label < len(names))
        named = tf.gather(tf.constant(names), tf.where(known, label, len(names) - 1))
        return tf.where(tf.equal(text, ""), named, text)

    def _vector(self, key: str) -> Any:
        values = self._first[key]
        dtype = tf.string if isinstance(values, list) else tf.as_dtype(values.dtype)
        return tf.FixedLenSequenceFeature([], dtype, allow_missing=True)


class ImageClassificationTFRecordDataset(
    ImageRecordTensors, mox_core.data.ImageClassificationTFRecordDataset
):
    """Images and labels in TFRecord files, as graph tensors.

    The arguments are those of `mox_core.data.ImageClassificationTFRecordDataset`, with functions of
    tensors; custom_feature_values are `tf.FixedLenFeature`s and the like, one for each of
    custom_feature_keys. Without them, custom features are vectors of the type that the first record
    has. Images are files in all records, or raw pixels in all.
    """

    def __init__(self, *args: Any, custom_feature_values: Any = None, **options: Any) -> None:
        super().__init__(*args, custom_feature_values=custom_feature_values, **options)
        keys = [key for key in self.source.features if key not in ("image", "label", "label_desc")]
        values = list(custom_feature_values or ())
        if values and len(values) != len(keys):
            raise DataError(
                f"custom_feature_values has {len(values)} entries for {len(keys)} keys."
            )
        self._custom = dict(zip(keys, values or map(self._vector, keys), strict=True))


class BaseTFRecordDataset(_RecordTensors, ImageDataset):
    """Records with features of one's own: to be subclassed.

        class Icebergs(BaseTFRecordDataset):
            def _build_features(self, band, angle):
                self._add_feature("band", tf.reshape(band, [75, 75]))
                self._add_feature("angle", angle)

        dataset = Icebergs(
            BaseTFRecordMetadata(folder, "*.tfrecord"),
            feature_keys=["band_1", "inc_angle"],
            feature_values=[
                tf.FixedLenFeature([75 * 75], tf.float32),
                tf.FixedLenFeature([], tf.float32),
            ],
        )
        band, angle = dataset.get(["band", "angle"])

    A subclass has one of:

    - `_build_features(self, *values)`, called with the parsed values in the order of feature_keys;
      `_build_feature` is the same;
    - `_parser(self, record)`, called with a serialized record, which returns a dict of features, or
      values for `_build_feature`;
    - none: features have the names of their keys.

    They are called once, with tensors of a single record.

    Args:
        metadata: which files there are.
        feature_keys: keys of the features in the records.
        feature_values: a `tf.FixedLenFeature` or the like for each.
        batch_size: see `mox_core.data.ImageDataset`, as all others.
        shuffle: whether each epoch has another order.
        shuffle_buffer_size: samples to draw from.
        num_parallel: threads that read.
        num_epochs: after how many epochs to end; None: never.
        cache_dir: local folder that keeps copies of what was read of remote files.
        remove_cache_on_finish: remove the copies when the last process that uses them ends.
        private_num_threads: threads of TensorFlow's for this data set; 0: those of the session.
        drop_remainder: leave out what is too little for a last batch.
        meta: another name of metadata.
        more: `capacity`, `seed`, `shard`, `on_error`, `first_epoch`.

    Raises:
        DataError: an argument does not fit, or a file is damaged.
    """

    def __init__(
        self,
        metadata: BaseTFRecordMetadata | None = None,
        feature_keys: Sequence[str] | None = None,
        feature_values: Sequence[Any] | None = None,
        batch_size: int | None = None,
        *,
        shuffle: bool = True,
        shuffle_buffer_size: int = 6400,
        num_parallel: int = 8,
        num_epochs: int | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        remove_cache_on_finish: bool = True,
        private_num_threads: int = 0,
        drop_remainder: bool = False,
        meta: BaseTFRecordMetadata | None = None,
        **more: Any,
    ) -> None:
        metadata = metadata or meta
        if metadata is None:
            raise DataError("metadata says what to read: a BaseTFRecordMetadata.")
        keys, values = list(feature_keys or ()), list(feature_values or ())
        if len(keys) != len(values):
            raise DataError(
                f"there are {len(keys)} feature_keys, but {len(values)} feature_values."
            )
        cache = make_cache(cache_dir, metadata.data_dir, remove=remove_cache_on_finish)
        skip = more.get("on_error") == "skip"
        super().__init__(
            metadata.source(cache, skip_damaged=skip, parse=as_record),
            batch_size,
            shuffle=shuffle,
            shuffle_buffer_size=shuffle_buffer_size,
            num_readers=num_parallel,
            num_epochs=num_epochs,
            private_num_threads=private_num_threads,
            drop_remainder=drop_remainder,
            **more,
        )
        self.metadata = metadata
        self._parsing = dict(zip(keys, values, strict=True))
        self._features: dict[str, Any] = {}

    def _add_feature(self, name: str, tensor: Any) -> None:
        """Gives a feature a name, for `get`."""
        self._features[name] = tensor

    def parsing(self) -> dict[str, Any]:
        """Key -> what `tf.parse_single_example` is told about it."""
        return self._parsing

    def prepare(self, sample: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
        """Parses a record and makes its features."""
        self._features = {}
        try:
            self._build(sample[_RECORD])
            features = self._features
        finally:
            self._features = {}
        for key in keys:
            if key not in features:
                raise DataError(
                    f"there is no feature {key!r}: the data set has {', '.join(sorted(features))}."
                )
        return {key: features[key] for key in keys}

    def _build(self, record: Any) -> None:
        build: Callable[..., None] | None = getattr(self, "_build_features", None)
        build = build or getattr(self, "_build_feature", None)
        parser: Callable[[Any], Any] | None = getattr(self, "_parser", None)
        if parser is None:
            parsed = tf.parse_single_example(record, self._parsing) if self._parsing else {}
        else:
            parsed = parser(record)
        if isinstance(parsed, Mapping):
            if build is None:
                self._features.update(parsed)
                return
            parsed = [parsed[key] for key in self._parsing or parsed]
        if parsed is None:  # the parser has called _add_feature
            return
        values = list(parsed) if isinstance(parsed, (list, tuple)) else [parsed]
        if build is None:
            raise DataError(
                f"{type(self).__name__}._parser returned {len(values)} values, which have no "
                "names.\n  Return a dict, or add a method _build_feature that names them."
            )
        build(*values)

    def _check(self, keys: list[str]) -> None:
        pass  # `prepare` knows the features


class _HandledTFRecordDataset(BaseTFRecordDataset):
    """What `get_tfrecord` returns."""

    def __init__(self, *args: Any, handlers: Mapping[str, Any], **options: Any) -> None:
        super().__init__(*args, **options)
        self._handlers = handlers

    def _build(self, record: Any) -> None:
        parsed = tf.parse_single_example(record, self._parsing)
        for name, handler in self._handlers.items():
            if hasattr(handler, "tensors_to_item"):
                needed = {key: parsed[key] for key in handler.keys if key in parsed}
                self._add_feature(name, handler.tensors_to_item(needed))
            elif callable(handler):
                self._add_feature(name, handler(parsed))
            else:
                self._add_feature(name, parsed[handler])


def get_tfrecord(
    dataset_dir: str | os.PathLike[str],
    file_pattern: str | list[str],
    keys_to_features: Mapping[str, Any],
    items_to_handlers: Mapping[str, Any] | None = None,
    *,
    num_samples: int | None = None,
    **options: Any,
) -> BaseTFRecordDataset:
    """Makes a data set of TFRecord files with features of one's own.

        dataset = mox.get_tfrecord(
            dataset_dir=folder,
            file_pattern="*.tfrecord",
            keys_to_features={"x": tf.FixedLenFeature([4], tf.float32)},
            items_to_handlers={"square": lambda features: features["x"] ** 2},
        )
        [square] = dataset.get(["square"])

    Args:
        dataset_dir: the folder.
        file_pattern: which of its files.
        keys_to_features: key -> `tf.FixedLenFeature` or the like.
        items_to_handlers: name -> what makes the feature: a handler of TF-slim's
            `tfexample_decoder` (from tf_slim or `mox_tf.datasets.tfexample_decoder`), a function of
            the dict of parsed tensors, or a key. None: all keys by their names.
        num_samples: how many records there are; None: they are counted.
        options: those of BaseTFRecordDataset, such as `num_epochs`, `shuffle`, `batch_size`;
            `num_readers` is another name of `num_parallel`.

    Raises:
        DataError: an argument does not fit, or a file is damaged.
    """
    if "num_readers" in options:
        options["num_parallel"] = options.pop("num_readers")
    metadata = BaseTFRecordMetadata(dataset_dir, file_pattern, num_samples)
    return _HandledTFRecordDataset(
        metadata,
        list(keys_to_features),
        list(keys_to_features.values()),
        handlers=items_to_handlers or {key: key for key in keys_to_features},
        **options,
    )
