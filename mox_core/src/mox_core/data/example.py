"""tf.Example messages without TensorFlow: reading and writing.

Source: tensorflow/core/example/example.proto, feature.proto; protobuf's wire format.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mox_core.errors import DataError
from mox_core.protobuf import decode, field_bytes, read_varint, varint

__all__ = ["format_example", "parse_example"]


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
        for number, message in decode(view):
            if number != 1:
                continue
            for inner, entry in decode(message):
                if inner != 1:
                    continue
                name, feature = "", memoryview(b"")
                for key, value in decode(entry):
                    if key == 1:
                        name = str(value, "utf-8")
                    elif key == 2:
                        feature = value
                features[name] = _values(feature)
    except (IndexError, ValueError, TypeError) as error:
        raise DataError(f"is no tf.Example ({error})") from None
    return features


def _values(feature: memoryview) -> Any:
    import numpy as np

    for kind, values in decode(feature):
        if kind == 1:
            return [bytes(value) for number, value in decode(values) if number == 1]
        if kind == 2:
            floats = [value for number, value in decode(values) if number == 1]
            return np.frombuffer(b"".join(floats), "<f4")
        if kind == 3:
            numbers: list[int] = []
            for number, value in decode(values):
                if number != 1:
                    continue
                if isinstance(value, int):
                    numbers.append(value)
                    continue
                at = 0
                while at < len(value):
                    one, at = read_varint(value, at)
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
        feature = field_bytes(1, name.encode()) + field_bytes(2, _format_values(value))
        entries.append(field_bytes(1, feature))
    return field_bytes(1, b"".join(entries))


def _format_values(value: Any) -> bytes:
    import struct

    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if all(isinstance(one, (bytes, str)) for one in values):
        encoded = [one.encode() if isinstance(one, str) else one for one in values]
        return field_bytes(1, b"".join(field_bytes(1, one) for one in encoded))
    if any(isinstance(one, float) for one in values):
        return field_bytes(2, field_bytes(1, struct.pack(f"<{len(values)}f", *values)))
    return field_bytes(3, field_bytes(1, b"".join(varint(int(one)) for one in values)))
