"""Texts and bytes, as TensorFlow's `tf.compat` converts them."""

from __future__ import annotations

from typing import Any

__all__ = ["as_bytes", "as_str", "as_str_any", "as_text"]


def as_bytes(bytes_or_text: str | bytes | bytearray, encoding: str = "utf-8") -> bytes:
    """Returns the bytes of a text; bytes as they are."""
    if isinstance(bytes_or_text, str):
        return bytes_or_text.encode(encoding)
    return bytes(bytes_or_text)


def as_text(bytes_or_text: str | bytes | bytearray, encoding: str = "utf-8") -> str:
    """Returns the text that bytes hold; a text as it is."""
    return bytes_or_text if isinstance(bytes_or_text, str) else bytes_or_text.decode(encoding)


as_str = as_text


def as_str_any(value: Any, encoding: str = "utf-8") -> str:
    """Returns a text for anything."""
    return as_text(value, encoding) if isinstance(value, (bytes, bytearray)) else str(value)
