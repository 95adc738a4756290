"""CRC-32C (Castagnoli), the checksum of TFRecord and TensorBoard event files."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module

__all__ = ["crc32c", "is_fast", "masked_crc32c"]

_POLYNOMIAL = 0x82F63B78  # reflected
_MASK_DELTA = 0xA282EAD8


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of the data, an unsigned 32-bit number.

    Uses the package crc32c where it is installed, else google_crc32c, else Python.

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
    return _implementation() is not _python_crc32c


@cache
def _implementation() -> Callable[[bytes], int]:
    for module, name in (("crc32c", "crc32c"), ("google_crc32c", "value")):
        try:
            native: Callable[[bytes], int] = getattr(import_module(module), name)
        except ImportError:
            continue
        return native
    return _python_crc32c


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
