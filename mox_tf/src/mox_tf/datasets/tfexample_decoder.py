"""Handlers for `get_tfrecord`, with the names and arguments of TF-slim's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mox_core.errors import DataError
from mox_tf.preprocessing.decoding import decode
from mox_tf.tf1 import tf

__all__ = ["Image", "Tensor"]


class Tensor:
    """A feature as it was parsed.

    Args:
        tensor_key: of the feature.
        shape: what it is reshaped to; None: it stays.
        default_value: stands for missing values of a sparse feature.
    """

    def __init__(
        self, tensor_key: str, shape: Sequence[int] | None = None, default_value: Any = 0
    ) -> None:
        self.keys = [tensor_key]
        self._shape = shape
        self._default = default_value

    def tensors_to_item(self, tensors: Mapping[str, Any]) -> Any:
        """Makes the feature of the parsed tensors."""
        tensor = _get(tensors, self.keys[0])
        if isinstance(tensor, tf.SparseTensor):
            default = "" if tensor.dtype == tf.string else self._default
            tensor = tf.sparse.to_dense(tensor, default_value=default)
        return tensor if self._shape is None else tf.reshape(tensor, self._shape)


class Image:
    """An image file, or raw pixels where the format is `raw`.

    Args:
        image_key: of the feature with the content.
        format_key: of the feature that says `raw`; it may be missing.
        shape: height, width and channels, where they are the same for all.
        channels: of the image, 3 or 1.
    """

    def __init__(
        self,
        image_key: str | None = None,
        format_key: str | None = None,
        shape: Sequence[int] | None = None,
        channels: int = 3,
    ) -> None:
        self._image = image_key or "image/encoded"
        self._format = format_key or "image/format"
        self._shape = shape
        self._channels = channels
        self.keys = [self._image, self._format]

    def tensors_to_item(self, tensors: Mapping[str, Any]) -> Any:
        """Makes the image, uint8, of the parsed tensors."""
        content = _get(tensors, self._image)
        image: Any
        if self._format in tensors and self._shape is not None:
            shape = self._shape
            image = tf.cond(
                tf.equal(tf.strings.lower(tensors[self._format]), "raw"),
                lambda: tf.reshape(tf.decode_raw(content, tf.uint8), shape),
                lambda: tf.reshape(decode(content, self._channels), shape),
            )
        else:
            image = decode(content, self._channels)
        if self._shape is not None:
            image = tf.reshape(image, self._shape)
        return image


def _get(tensors: Mapping[str, Any], key: str) -> Any:
    if key not in tensors:
        raise DataError(f"a handler needs {key!r}, which keys_to_features does not have.")
    return tensors[key]
