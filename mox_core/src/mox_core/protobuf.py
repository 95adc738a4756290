"""The wire format of Protocol Buffers, as far as event files and checkpoints need it.

Source: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

__all__ = [
    "decode",
    "field_bytes",
    "field_double",
    "field_float",
    "field_varint",
    "read_varint",
    "varint",
]

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def field_varint(number: int, value: int) -> bytes:
    """Encode an integer field (int64, enum)."""
    return _tag(number, _VARINT) + varint(value)


def field_double(number: int, value: float) -> bytes:
    """Encode a double field."""
    return _tag(number, _FIXED64) + struct.pack("<d", value)


def field_float(number: int, value: float) -> bytes:
    """Encode a float field; what float32 cannot hold becomes an infinity."""
    try:
        packed = struct.pack("<f", value)
    except OverflowError:
        packed = struct.pack("<f", float("inf") if value > 0 else float("-inf"))
    return _tag(number, _FIXED32) + packed


def field_bytes(number: int, value: bytes) -> bytes:
    """Encode a field of bytes, text in UTF-8, or a message that is encoded already."""
    return _tag(number, _LENGTH) + varint(len(value)) + value


def decode(message: bytes | memoryview) -> Iterator[tuple[int, Any]]:
    """Yield the number and the raw value of every field of a message.

    Integers come as unsigned numbers; fixed-size numbers, texts and messages as bytes, or as views
    of a message that is one.

    Raises:
        ValueError: the bytes are no message.
    """
    at, end = 0, len(message)
    while at < end:
        # Tags and most lengths are of one byte; a call would cost more than the rest.
        tag, at = (message[at], at + 1) if message[at] < 0x80 else read_varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = read_varint(message, at)
            yield number, value
            continue
        if kind == _LENGTH:
            short = at < end and message[at] < 0x80
            length, at = (message[at], at + 1) if short else read_varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind} at byte {at}")
        if at + length > end:
            raise ValueError(f"a field of {length} bytes reaches beyond the end")
        yield number, message[at : at + length]
        at += length


def read_varint(message: bytes | memoryview, at: int) -> tuple[int, int]:
    """Return the integer that begins at a byte, unsigned, and where it ends.

    Raises:
        ValueError: it does not end, or has more than 64 bits.
    """
    value = shift = 0
    while at < len(message):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if value >> 64:
            raise ValueError("a number has more than 64 bits")
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number does not end after 64 bits")
    raise ValueError("a number reaches beyond the end")


def varint(value: int) -> bytes:
    """Encode an integer by itself; a negative one as its two's complement of 64 bits."""
    value &= 2**64 - 1
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _tag(number: int, kind: int) -> bytes:
    return varint(number << 3 | kind)
