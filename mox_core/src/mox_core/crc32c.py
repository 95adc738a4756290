"""CRC-32C (Castagnoli), the checksum of TFRecord and TensorBoard event files."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

__all__ = ["crc32c", "is_fast", "masked_crc32c"]

_POLYNOMIAL = 0x82F63B78  # reflected
_MASK_DELTA = 0xA282EAD8
_WORTH_NUMPY = 1 << 17  # bytes; below, Python is faster


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of the data, an unsigned 32-bit number.

    Uses the package crc32c where it is installed, else google_crc32c, else NumPy, else Python.

    Source: RFC 3720, appendix B.4, for the polynomial and test vectors.
    """
    return _implementation()(data)


def masked_crc32c(data: bytes) -> int:
    """Return the CRC-32C as TFRecord files store it: rotated right by 15, plus a constant.

    A checksum of data that contains checksums would otherwise be weak.

    Source: tensorflow/core/lib/hash/crc32c.h.
    """
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def is_fast() -> bool:
    """Whether a package in C computes it; Python takes about 0.1 us per byte."""
    return _implementation() is not _slow_crc32c


@cache
def _implementation() -> Callable[[bytes], int]:
    for module, name in (("crc32c", "crc32c"), ("google_crc32c", "value")):
        try:
            native: Callable[[bytes], int] = getattr(import_module(module), name)
        except ImportError:
            continue
        return native
    return _slow_crc32c


def _slow_crc32c(data: bytes) -> int:
    if len(data) >= _WORTH_NUMPY:
        try:
            return _numpy_crc32c(data)
        except ImportError:
            pass
    return _python_crc32c(data)


def _numpy_crc32c(data: bytes) -> int:
    """Cuts the data into many rows, goes through all of them at once, and joins the results.

    A row's result moves on by as many zero bytes as stand behind it in the data. That is linear in
    its bits, so it is the sum of what becomes of each of them.
    """
    import numpy as np

    rows = 1 << (len(data) >> 10).bit_length()
    width = -(-len(data) // rows)
    padded = np.zeros(rows * width, np.uint8)  # zeros in front change nothing
    start = padded.size - len(data)
    padded[start:] = np.frombuffer(data, np.uint8)
    padded[start : start + 4] ^= 0xFF  # as if the sum began with all bits set
    table = np.array(_table(), np.uint32)

    def shifted(crcs: Any, byte: Any) -> Any:
        return table[(crcs ^ byte) & 0xFF] ^ crcs >> 8

    sums = np.zeros(rows, np.uint32)
    for column in np.ascontiguousarray(padded.reshape(rows, width).T):
        sums = shifted(sums, column)
    moved = np.uint32(1) << np.arange(32, dtype=np.uint32)  # what becomes of each bit
    for _ in range(width):
        moved = shifted(moved, np.uint8(0))

    def move(crcs: Any) -> Any:
        bits = [np.where(crcs >> np.uint32(bit) & 1, one, 0) for bit, one in enumerate(moved)]
        return np.bitwise_xor.reduce(bits, axis=0).astype(np.uint32)

    while len(sums) > 1:
        sums = move(sums[0::2]) ^ sums[1::2]
        moved = move(moved)
    return int(sums[0]) ^ 0xFFFFFFFF


def _python_crc32c(data: bytes) -> int:
    table = _table()
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


@cache
def _table() -> tuple[int, ...]:
    def entry(crc: int) -> int:
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
        return crc

    return tuple(map(entry, range(256)))
