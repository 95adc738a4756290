"""What is sent: its digest, and how an SDK gets it."""

from __future__ import annotations

import binascii
import hashlib
import io

from mox_core.storage.driver import Body, FileSlice

__all__ = ["base64", "body_digest", "body_stream"]


def base64(data: bytes) -> str:
    """As headers give digests."""
    return binascii.b2a_base64(data, newline=False).decode()


def body_digest(algorithm: str, body: Body) -> bytes:
    """Digest of a body."""
    if isinstance(body, FileSlice):
        return body.digest(algorithm)
    return hashlib.new(algorithm, body, usedforsecurity=False).digest()


def body_stream(body: Body) -> io.BufferedIOBase:
    """A new stream over a body; given bytes, the OBS SDK formats all of them for a log line."""
    return body.open() if isinstance(body, FileSlice) else io.BytesIO(body)
