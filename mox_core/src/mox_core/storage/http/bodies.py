"""What is sent: its digest, and how an SDK gets it."""

from __future__ import annotations

import binascii
import hashlib
import io
import os

from mox_core.storage.driver import Body, FileSlice

__all__ = ["base64", "body_digest", "body_stream"]


def base64(data: bytes) -> str:
    """As headers give digests."""
    return binascii.b2a_base64(data, newline=False).decode()


def body_digest(algorithm: str, body: Body) -> bytes:
    """Digest of a body; a file is read in small pieces, so that memory stays small."""
    if not isinstance(body, FileSlice):
        return hashlib.new(algorithm, body).digest()
    digest = hashlib.new(algorithm)
    buffer = memoryview(bytearray(min(body.size, 1 << 20)))
    done = 0
    while done < body.size:
        count = os.preadv(body.fd, [buffer[: body.size - done]], body.offset + done)
        if not count:
            break  # sending will find out, and say so
        digest.update(buffer[:count])
        done += count
    return digest.digest()


def body_stream(body: Body) -> io.BufferedIOBase:
    """A new stream over a body; given bytes, the OBS SDK formats all of them for a log line."""
    return body.open() if isinstance(body, FileSlice) else io.BytesIO(body)
