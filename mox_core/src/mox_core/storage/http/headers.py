"""What the headers of an answer say about an object."""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from contextlib import suppress

from mox_core.storage.driver import ObjectInfo

from .connection import ProtocolError
from .times import http_time_ns

__all__ = ["etag_of", "object_info", "plain_md5"]

_MD5 = re.compile(r"[0-9a-f]{32}")


def etag_of(headers: Mapping[str, str]) -> str:
    """The ETag without quotes, empty when there is none."""
    return headers.get("etag", "").strip('"')


def plain_md5(headers: Mapping[str, str], prefix: str) -> str:
    """The ETag where it is an MD5 of the content, else empty.

    Args:
        headers: Lower-case names to values.
        prefix: 'x-amz-' or 'x-obs-'.
    """
    etag = etag_of(headers)
    encryption = f"{prefix}server-side-encryption"
    if headers.get(encryption, "") not in ("", "AES256"):  # by a key of the store's own
        return ""
    if f"{encryption}-customer-algorithm" in headers:
        return ""
    return etag if _MD5.fullmatch(etag) else ""


def object_info(path: str, headers: Mapping[str, str], prefix: str) -> ObjectInfo:
    """What the headers of GET or HEAD say about the whole object.

    Args:
        path: The object.
        headers: Lower-case names to values.
        prefix: 'x-amz-' or 'x-obs-'.

    Raises:
        ProtocolError: Its size is not among it.
    """
    size = headers.get("content-length", "")
    if "content-range" in headers:
        size = headers["content-range"].rpartition("/")[2]
    if not (size.isascii() and size.isdigit()):
        raise ProtocolError("the server does not say the object's size")
    time = http_time_ns(headers.get("last-modified", ""))
    return ObjectInfo(path, int(size), time, etag_of(headers), _digest(headers, prefix))


def _digest(headers: Mapping[str, str], prefix: str) -> str:
    """The digest of the content if the server vouches for one, as `algorithm:hex`."""
    # Of an object that grew by AppendObject nobody promises what the ETag is.
    if f"{prefix}object-type" not in headers and (md5 := plain_md5(headers, prefix)):
        return f"md5:{md5}"
    if headers.get(f"{prefix}checksum-type", "FULL_OBJECT") != "FULL_OBJECT":
        return ""
    for algorithm, size in (("sha256", 32), ("sha1", 20), ("crc32", 4)):
        value = headers.get(f"{prefix}checksum-{algorithm}", "")
        if value and "-" not in value:  # "...-3": a digest of the digests of 3 parts
            with suppress(ValueError):
                digest = binascii.a2b_base64(value)
                if len(digest) == size:
                    return f"{algorithm}:{digest.hex()}"
    return ""
