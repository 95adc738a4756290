"""Functions of tf.contrib whose successors are called with other arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mox_tf import mnist
from mox_tf.tf1 import lookup_ops, tf

__all__ = [
    "LearnModeKeys",
    "batch_and_drop_remainder",
    "index_table_from_tensor",
    "index_to_string_table_from_tensor",
    "load_dataset",
    "padded_batch_and_drop_remainder",
]


class LearnModeKeys:
    """The modes of `tf.contrib.learn`."""

    TRAIN = "train"
    EVAL = "eval"
    INFER = "infer"


def batch_and_drop_remainder(batch_size: int) -> Callable[[Any], Any]:
    """Batches of one size, for `Dataset.apply`."""
    return lambda dataset: dataset.batch(batch_size, drop_remainder=True)


def padded_batch_and_drop_remainder(
    batch_size: int, padded_shapes: Any, padding_values: Any = None
) -> Callable[[Any], Any]:
    """Padded batches of one size, for `Dataset.apply`."""
    return lambda dataset: dataset.padded_batch(
        batch_size, padded_shapes, padding_values, drop_remainder=True
    )


def index_to_string_table_from_tensor(
    mapping: Any, default_value: str = "UNK", name: str | None = None
) -> Any:
    """A table from the numbers of strings to the strings."""
    return lookup_ops().index_to_string_table_from_tensor(mapping, default_value, name)


def index_table_from_tensor(
    mapping: Any,
    num_oov_buckets: int = 0,
    default_value: int = -1,
    hasher_spec: Any = None,
    dtype: Any = tf.string,
    name: str | None = None,
) -> Any:
    """A table from strings to their numbers."""
    more = {} if hasher_spec is None else {"hasher_spec": hasher_spec}
    return lookup_ops().index_table_from_tensor(
        mapping, num_oov_buckets, default_value, dtype=dtype, name=name, **more
    )


def load_dataset(name: str, size: str = "small") -> mnist.Datasets:
    """Only MNIST, from the folder `MNIST-data`."""
    if name != "mnist":
        raise ValueError(f"load_dataset knows 'mnist' only, not {name!r}")
    return mnist.read_data_sets("MNIST-data")
