"""Reading TensorFlow's checkpoint files, whoever wrote them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mox_core.checkpoint import DamagedError
from mox_core.engine import VariableInfo
from mox_core.errors import CheckpointError
from mox_tf.failures import first_line
from mox_tf.tf1 import tf

__all__ = ["CheckpointFiles", "write_checkpoint"]


@dataclass(frozen=True)
class CheckpointFiles:
    """An open checkpoint, of the format of TensorFlow 1 and 2 or the older one of one file.

    Args:
        prefix: path without suffixes.
        shapes: name -> shape of each variable.
        dtypes: name -> its TensorFlow dtype.
    """

    prefix: str
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, Any]
    _reader: Any

    @classmethod
    def open(cls, prefix: str) -> CheckpointFiles:
        """Opens a checkpoint.

        Raises:
            CheckpointError: the files are damaged or are none of TensorFlow's.
        """
        try:
            reader = tf.train.NewCheckpointReader(prefix)
            shapes = reader.get_variable_to_shape_map()
            dtypes = reader.get_variable_to_dtype_map()
        except Exception as error:  # of many kinds, from the C++ side
            raise DamagedError(prefix, first_line(error)) from error
        return cls(
            prefix,
            {name: tuple(shape) for name, shape in shapes.items()},
            {name: tf.as_dtype(dtype) for name, dtype in dtypes.items()},
            reader,
        )

    @classmethod
    def find(cls, prefix: str) -> CheckpointFiles | None:
        """Opens a checkpoint; None where there is none.

        Raises:
            CheckpointError: the files are damaged.
        """
        if os.path.isfile(f"{prefix}.index"):
            return cls.open(prefix)
        try:
            return cls.open(prefix) if os.path.isfile(prefix) else None
        except CheckpointError:  # any file may have such a name
            return None

    def infos(self) -> list[VariableInfo]:
        """Describes the variables, in alphabetical order."""
        return [
            VariableInfo(name, shape, self.dtypes[name].name)
            for name, shape in sorted(self.shapes.items())
        ]

    def read(self, name: str) -> Any:
        """The value of a variable.

        Raises:
            CheckpointError: the files are damaged.
        """
        try:
            return self._reader.get_tensor(name)
        except Exception as error:  # of many kinds, from the C++ side
            raise DamagedError(self.prefix, first_line(error)) from error


def write_checkpoint(prefix: str, values: Mapping[str, Any]) -> None:
    """Writes a checkpoint without a model.

    Args:
        prefix: path without suffixes.
        values: name -> NumPy array.

    Raises:
        CheckpointError: it cannot be written.
    """
    with tf.Graph().as_default(), tf.device("/cpu:0"):
        given = [tf.placeholder(array.dtype, array.shape) for array in values.values()]
        save = tf.raw_ops.SaveV2(
            prefix=prefix,
            tensor_names=list(values),
            shape_and_slices=[""] * len(given),
            tensors=given,
        )
        # Without GPUs, of which a session would take the memory.
        with tf.Session(config=tf.ConfigProto(device_count={"GPU": 0})) as session:
            try:
                session.run(save, dict(zip(given, values.values(), strict=True)))
            except tf.errors.OpError as error:
                raise CheckpointError(f"{prefix} cannot be written: {first_line(error)}") from error
