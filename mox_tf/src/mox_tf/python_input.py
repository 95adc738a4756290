"""Inputs that Python code reads: an operation of the graph calls it for every batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mox_core.nn.feed import Feed
from mox_tf.tf1 import tf

__all__ = ["PythonInput"]

_ALIGNMENT = 64


@dataclass(frozen=True)
class PythonInput:
    """The batches of a `Feed` as tensors; what `build_input` takes besides TensorFlow's own.

    Args:
        inputs: position or name -> tensor of the next batch; a list, or a dict.
        rewind: the operation that begins again with data that can be read again.
        reader: what both call.
    """

    inputs: Any
    rewind: Any
    reader: _Reader

    @classmethod
    def of(cls, feed: Feed) -> PythonInput:
        """Makes the operations, in the default graph."""
        reader = _Reader(feed)
        specs = feed.specs()
        tensors = tf.numpy_function(
            reader.read, [], [tf.as_dtype(one.dtype) for one in specs.values()], name="read"
        )
        for tensor, spec in zip(tensors, specs.values(), strict=True):
            tensor.set_shape(spec.shape)
        named: Mapping[Any, Any] = dict(zip(specs, tensors, strict=True))
        inputs = dict(named) if any(isinstance(key, str) for key in named) else list(tensors)
        return cls(inputs, tf.numpy_function(reader.rewind, [], [], name="rewind"), reader)

    def close(self) -> None:
        """Lets go of the data."""
        self.reader.feed.close()

    def raise_error(self) -> None:
        """Raises what reading has raised, as it was; TensorFlow only knows how to print it."""
        error, self.reader.error = self.reader.error, None
        if error is not None:
            raise error


class _Reader:
    """What the operations call, from threads of TensorFlow's but never from two at once.

    Args:
        feed: the batches.

    Attributes:
        feed: the batches.
        error: what reading has raised.
    """

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self._has_read = False
        self.error: Exception | None = None

    def read(self) -> list[Any]:
        """The next batch; TensorFlow takes StopIteration for the end of the data."""
        self._has_read = True
        try:
            batches = self.feed.take(1)
        except Exception as error:
            self.error = error
            raise
        if not batches:
            raise StopIteration
        return [_copied(array) for array in batches[0].values()]

    def rewind(self) -> list[Any]:
        """Begins again, unless nothing has been read yet."""
        if self._has_read:
            self.feed.begin_again()
        return []


def _copied(array: Any) -> Any:
    """An array that a later step may still read although input_fn fills the same one anew.

    TensorFlow copies arrays, except those that lie as its own do.
    """
    return array if array.ctypes.data % _ALIGNMENT else array.copy()
