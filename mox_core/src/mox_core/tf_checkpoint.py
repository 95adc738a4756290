"""TensorFlow's checkpoints, read without TensorFlow.

There are two formats. A bundle (since TensorFlow 0.12) is `<prefix>.index`, a table of what there
is, and `<prefix>.data-00000-of-00001` and so on, the numbers. The older one, in which most
networks of TF-slim were published, is a single file: a table that holds the numbers, too. Both
tables are LevelDB's, without compression. A variable may be stored in parts.

Source: tensorflow/core/util/tensor_bundle/tensor_bundle.h, tensorflow/core/util/
saved_tensor_slice_util.h, tensorflow/core/protobuf/tensor_bundle.proto, and LevelDB's
doc/table_format.md.
"""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mox_core.crc32c import masked_crc32c
from mox_core.engine import VariableInfo
from mox_core.errors import CheckpointError
from mox_core.protobuf import decode, read_varint

__all__ = ["TensorFlowCheckpoint"]

_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
_FOOTER = 48
_DTYPES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    8: "complex64",
    9: "int64",
    10: "bool",
    14: "bfloat16",
    17: "uint16",
    18: "complex128",
    19: "float16",
    22: "uint32",
    23: "uint64",
}
_OTHER_DTYPES = {7: "string", 20: "resource", 21: "variant"}
# Fields of a TensorProto that hold numbers: packed ones of a fixed size, and varints.
_FIXED = {4: None, 5: "<f4", 6: "<f8"}
_VARINTS = frozenset({7, 10, 11, 13, 16, 17})

# What bytes cause that are no checkpoint.
_DAMAGES = (ValueError, TypeError, LookupError, ArithmeticError, MemoryError, OSError)

Slice = tuple[tuple[int, int], ...]
"""(start, length) of each dimension; the length is -1 for all of it."""


@dataclass
class _Variable:
    """What a checkpoint knows of a variable.

    Args:
        dtype: TensorFlow's number of it.
        shape: of the whole.
        parts: where they lie in the whole, and how to read their numbers. A variable that is
            stored as one has one part, whose slice is empty.
    """

    dtype: int
    shape: tuple[int, ...]
    parts: list[tuple[Slice, Callable[[], Any]]] = field(default_factory=list)

    @property
    def dtype_name(self) -> str:
        return _DTYPES.get(self.dtype) or _OTHER_DTYPES.get(self.dtype, f"dtype {self.dtype}")


class TensorFlowCheckpoint:
    """A checkpoint of either format, open for reading.

    Args:
        prefix: path without suffixes; of the older format the path itself.

    Raises:
        CheckpointError: it is damaged.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        try:
            bundle = os.path.isfile(f"{prefix}.index")
            self._variables = _of_bundle(prefix) if bundle else _of_one_file(prefix)
        except _DAMAGES as error:
            raise self._damaged(error) from error

    @classmethod
    def find(cls, prefix: str) -> TensorFlowCheckpoint | None:
        """Opens a checkpoint; None where there is none.

        Raises:
            CheckpointError: it is damaged.
        """
        if os.path.isfile(f"{prefix}.index") or _ends_as_a_table(prefix):
            return cls(prefix)
        return None

    def infos(self) -> list[VariableInfo]:
        """Describes the variables, in alphabetical order."""
        return [
            VariableInfo(name, one.shape, one.dtype_name)
            for name, one in sorted(self._variables.items())
        ]

    def without_numbers(self) -> list[str]:
        """Names of what is there besides variables: texts, state of data sets."""
        return sorted(name for name, one in self._variables.items() if one.dtype not in _DTYPES)

    def arrays(self) -> dict[str, Any]:
        """Name -> NumPy array of all that holds numbers; bfloat16 becomes float32.

        Raises:
            CheckpointError: it is damaged.
        """
        try:
            return {
                name: _whole(name, one)
                for name, one in sorted(self._variables.items())
                if one.dtype in _DTYPES
            }
        except _DAMAGES as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> CheckpointError:
        what = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) else str(error)
        return CheckpointError(
            f"checkpoint {self._prefix} cannot be read: {what}.\n"
            "  Copy its files once more, or use another checkpoint."
        )


# ---- Variables -----------------------------------------------------------------------------------


def _of_bundle(prefix: str) -> dict[str, _Variable]:
    """The variables of `<prefix>.index`."""
    table = {key: bytes(value) for key, value in _entries_of_table(f"{prefix}.index")}
    header = _message(table.pop(b""))
    shards = header.get(1, 1)
    order = ">" if header.get(2) else "<"
    found = {}
    for key, value in table.items():
        if key.startswith(b"\0"):  # a part; the entry of the whole names it
            continue
        entry = _message(value)
        variable = found[key.decode()] = _Variable(entry.get(1, 0), _shape(entry.get(2, b"")))
        slices = [_slice(one) for number, one in decode(value) if number == 7]
        for one in slices or [()]:
            part = _message(table[_key_of_part(key, one)]) if one else entry
            shard = f"{prefix}.data-{part.get(3, 0):05d}-of-{shards:05d}"
            variable.parts.append((one, _PartOfBundle(shard, part, variable.dtype_name, order)))
    return found


@dataclass(frozen=True)
class _PartOfBundle:
    """Reads numbers that a file holds as they lie in memory."""

    path: str
    entry: dict[int, Any]
    dtype: str
    order: str

    def __call__(self) -> Any:
        offset, size = self.entry.get(4, 0), self.entry.get(5, 0)
        with open(self.path, "rb") as file:
            file.seek(offset)
            data = file.read(size)
        if len(data) < size:
            raise ValueError(f"{os.path.basename(self.path)} ends too early")
        if masked_crc32c(data).to_bytes(4, "little") != self.entry.get(6, bytes(4)):
            raise ValueError(f"a checksum in {os.path.basename(self.path)} does not match")
        return _numbers(data, self.dtype, self.order)


def _of_one_file(path: str) -> dict[str, _Variable]:
    """The variables of a file of the older format."""
    found: dict[str, _Variable] = {}
    parts: list[tuple[str, Slice, memoryview]] = []
    for key, value in _entries_of_table(path):
        for number, message in decode(value):
            fields = list(decode(message))
            if number == 1 and not key:  # what there is
                for one in (one for inner, one in fields if inner == 1):
                    described = _message(one)
                    name = str(described[1], "utf-8")
                    dtype = described.get(3, 0)
                    found[name] = _Variable(dtype, _shape(described.get(2, b"")))
            elif number == 2:  # the numbers of a part
                given = dict(fields)
                parts.append((str(given[1], "utf-8"), _slice(given.get(2, b"")), given[3]))
    for name, where, tensor in parts:
        variable = found[name]
        variable.parts.append((where, _PartOfTable(tensor, variable.dtype_name)))
    return found


@dataclass(frozen=True)
class _PartOfTable:
    """Reads the numbers of a TensorProto."""

    tensor: memoryview
    dtype: str

    def __call__(self) -> Any:
        import numpy as np

        for number, value in decode(self.tensor):
            if number in _FIXED:
                stored = _FIXED[number]
                if stored is None:
                    return _numbers(value, self.dtype, "<")
                return np.frombuffer(value, stored).astype(self.dtype)
            if number in _VARINTS:
                numbers, at = [], 0
                if isinstance(value, int):
                    numbers.append(value)
                while not isinstance(value, int) and at < len(value):
                    one, at = read_varint(value, at)
                    numbers.append(one)
                array = np.array(numbers, np.uint64)
                if self.dtype in ("float16", "bfloat16"):  # their bits
                    return _numbers(array.astype("<u2").tobytes(), self.dtype, "<")
                return array.view(np.int64).astype(self.dtype)
        return _numbers(b"", self.dtype, "<")


def _whole(name: str, variable: _Variable) -> Any:
    """The value of a variable, put together of its parts."""
    import numpy as np

    size = math.prod(variable.shape)
    array, filled = None, 0
    for where, read in variable.parts:
        part = read()
        lengths = [
            whole if length < 0 else length
            for whole, (_, length) in zip(variable.shape, where, strict=False)
        ] or list(variable.shape)
        if part.size != math.prod(lengths):
            raise ValueError(f"{name} has {part.size} numbers where {math.prod(lengths)} belong")
        part = part.reshape(lengths)
        filled += part.size
        if len(variable.parts) == 1 and part.size == size:
            return part.reshape(variable.shape)
        if array is None:
            array = np.empty(variable.shape, part.dtype)
        starts = [start for start, _ in where]
        array[tuple(slice(a, a + length) for a, length in zip(starts, lengths, strict=True))] = part
    if array is None or filled != size:
        raise ValueError(f"{name} lacks some of its parts")
    return array


def _numbers(data: bytes | memoryview, dtype: str, order: str) -> Any:
    """Numbers as they lie in memory -> an array of one dimension."""
    import numpy as np

    if dtype == "bfloat16":  # the upper half of a float32
        bits = np.frombuffer(data, f"{order}u2").astype(np.uint32) << 16
        return bits.view(np.float32)
    stored = np.frombuffer(data, np.dtype(dtype).newbyteorder(order))  # type: ignore[arg-type]
    return stored.astype(dtype)


# ---- Messages ------------------------------------------------------------------------------------


def _message(data: bytes | memoryview) -> dict[int, Any]:
    """Field number -> value, the last one of each."""
    return dict(decode(data))


def _shape(data: bytes | memoryview) -> tuple[int, ...]:
    dimensions = (_message(one) for number, one in decode(data) if number == 2)
    return tuple(one.get(1, 0) for one in dimensions)


def _slice(data: bytes | memoryview) -> Slice:
    extents = (_message(one) for number, one in decode(data) if number == 1)
    return tuple((one.get(1, 0), one.get(2, -1)) for one in extents)


def _key_of_part(name: bytes, where: Slice) -> bytes:
    """The key of a part in the table of a bundle: TensorFlow's "ordered code"."""
    escaped = b"".join({0: b"\0\xff", 255: b"\xff\0"}.get(one, bytes([one])) for one in name)
    key = _ordered(0) + escaped + b"\0\x01" + _ordered(len(where))
    return key + b"".join(_ordered_signed(number) for pair in where for number in pair)


def _ordered(number: int) -> bytes:
    """A number of 0 or more: how many bytes it has, then these."""
    size = (number.bit_length() + 7) // 8
    return bytes([size]) + number.to_bytes(size, "big")


def _ordered_signed(number: int) -> bytes:
    """Of n bytes, the first n bits tell n, inverted for numbers below 0."""
    size = next(n for n in range(1, 11) if -(1 << 7 * n - 1) <= number < 1 << 7 * n - 1)
    marks = ((1 << size) - 1) << 7 * size
    return ((number & (1 << 8 * size) - 1) ^ marks).to_bytes(size, "big")


# ---- Tables --------------------------------------------------------------------------------------


def _ends_as_a_table(path: str) -> bool:
    if not os.path.isfile(path) or os.path.getsize(path) < _FOOTER:
        return False
    with open(path, "rb") as file:
        file.seek(-len(_MAGIC), os.SEEK_END)
        return file.read() == _MAGIC


def _entries_of_table(path: str) -> Iterator[tuple[bytes, memoryview]]:
    """The keys and values of a table, in their order.

    Raises:
        ValueError: it is damaged.
    """
    name = os.path.basename(path)
    if not _ends_as_a_table(path):
        raise ValueError(f"{name} is cut off, or is no table of TensorFlow's")
    with open(path, "rb") as file:
        table = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    at = len(table) - _FOOTER
    for _ in range(2):  # the index of other things comes first
        offset, at = read_varint(table, at)
        size, at = read_varint(table, at)
    for _, handle in _entries(_block(table, offset, size, name)):
        offset, at = read_varint(handle, 0)
        size, _ = read_varint(handle, at)
        yield from _entries(_block(table, offset, size, name))


def _block(table: memoryview, offset: int, size: int, name: str) -> memoryview:
    end = offset + size
    if end + 5 > len(table):
        raise ValueError(f"{name} is cut off")
    if masked_crc32c(bytes(table[offset : end + 1])) != int.from_bytes(
        table[end + 1 : end + 5], "little"
    ):
        raise ValueError(f"a checksum in {name} does not match")
    if table[end]:
        raise ValueError(f"{name} is compressed, which TensorFlow itself does not do")
    return table[offset:end]


def _entries(block: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Each key is stored as what it shares with the one before, and the rest."""
    restarts = int.from_bytes(block[-4:], "little")
    at, key = 0, b""
    while at < len(block) - 4 * (restarts + 1):
        shared, at = read_varint(block, at)
        rest, at = read_varint(block, at)
        length, at = read_varint(block, at)
        key = key[:shared] + bytes(block[at : at + rest])
        at += rest
        yield key, block[at : at + length]
        at += length
