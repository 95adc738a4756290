"""tf.Example messages without TensorFlow: reading and writing.

Source: tensorflow/core/example/example.proto, feature.proto; protobuf's wire format.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mox_core.errors import DataError

__all__ = ["format_example", "parse_example"]


_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def parse_example(data: bytes) -> dict[str, Any]:
    """Reads a serialized tf.Example.

    Returns:
        Name -> values: a list of bytes, an int64 array or a float32 array.

    Raises:
        DataError: this is no such message.
    """
    features: dict[str, Any] = {}
    try:
        view = memoryview(data)
        for number, message in _fields(view):
            if number != 1:
                continue
            for inner, entry in _fields(message):
                if inner != 1:
                    continue
                name, feature = "", memoryview(b"")
                for key, value in _fields(entry):
                    if key == 1:
                        name = str(value, "utf-8")
                    elif key == 2:
                        feature = value
                features[name] = _values(feature)
    except (IndexError, ValueError, TypeError) as error:
        raise DataError(f"is no tf.Example ({error})") from None
    return features


def _fields(view: memoryview) -> Iterable[tuple[int, Any]]:
    """The fields of a message: number, and a view (bytes and packed values) or an int."""
    at, end = 0, len(view)
    while at < end:
        key = view[at]
        at += 1
        if key > 127:
            key, at = _varint(view, at - 1)
        wire = key & 7
        if wire == _LENGTH:
            length = view[at]
            at += 1
            if length > 127:
                length, at = _varint(view, at - 1)
            if at + length > end:
                raise ValueError("a field is longer than the message")
            yield key >> 3, view[at : at + length]
            at += length
        elif wire == _VARINT:
            value, at = _varint(view, at)
            yield key >> 3, value
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
            if at + size > end:
                raise ValueError("a field is longer than the message")
            yield key >> 3, view[at : at + size]
            at += size
        else:
            raise ValueError(f"wire type {wire}")


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = view[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")


def _values(feature: memoryview) -> Any:
    import numpy as np

    for kind, values in _fields(feature):
        if kind == 1:
            return [bytes(value) for number, value in _fields(values) if number == 1]
        if kind == 2:
            floats = [value for number, value in _fields(values) if number == 1]
            return np.frombuffer(b"".join(floats), "<f4")
        if kind == 3:
            numbers: list[int] = []
            for number, value in _fields(values):
                if number != 1:
                    continue
                if isinstance(value, int):
                    numbers.append(value)
                    continue
                at = 0
                while at < len(value):
                    one, at = _varint(value, at)
                    numbers.append(one)
            return np.array(numbers, np.uint64).view(np.int64)
    return []


def format_example(features: Mapping[str, Any]) -> bytes:
    """Writes a tf.Example.

    Args:
        features: name -> bytes, text, an int, a float, or a list of one kind of them.
    """
    entries = []
    for name, value in features.items():
        feature = _field(1, name.encode()) + _field(2, _format_values(value))
        entries.append(_field(1, feature))
    return _field(1, b"".join(entries))


def _format_values(value: Any) -> bytes:
    import struct

    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if all(isinstance(one, (bytes, str)) for one in values):
        encoded = [one.encode() if isinstance(one, str) else one for one in values]
        return _field(1, b"".join(_field(1, one) for one in encoded))
    if any(isinstance(one, float) for one in values):
        return _field(2, _field(1, struct.pack(f"<{len(values)}f", *values)))
    return _field(3, _field(1, b"".join(_format_varint(int(one)) for one in values)))


def _field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | _LENGTH]) + _format_varint(len(data)) + data


def _format_varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
