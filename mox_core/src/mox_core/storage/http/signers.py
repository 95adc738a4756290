"""The three ways to sign a request that object stores understand.

Sources: AWS "Signature Version 4" and "Signing and authenticating REST requests" (Amazon S3 API
reference), Huawei OBS "Authentication of signature in a header" (API reference).
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple, Protocol

from .request import Request, quote_key
from .times import http_date

__all__ = [
    "Credentials",
    "HmacSha1",
    "SigV4",
    "Signer",
]

_UNSIGNED = "UNSIGNED-PAYLOAD"
# Of the names that are part of the signed resource, those that mox sends.
_SIGNED_QUERY = frozenset({"append", "delete", "partNumber", "position", "uploadId", "uploads"})
_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


class Credentials(NamedTuple):
    """An access key, hidden from `repr` so that it never reaches a log.

    Attributes:
        access_key: Access key id.
        secret_key: Secret access key.
        token: Session token of temporary credentials, or None.
    """

    access_key: str
    secret_key: str
    token: str | None = None

    def __repr__(self) -> str:
        return "Credentials(...)"


class Signer(Protocol):
    """Signs requests; one object serves all threads."""

    def sign(self, request: Request, *, host: str, path: str, now: float) -> dict[str, str]:
        """Headers to add to the request's own.

        Args:
            request: What will be sent; its headers are covered by the signature.
            host: Value of the Host header.
            path: The encoded path, as it will be sent.
            now: Seconds since the epoch, by the server's clock.
        """
        ...


class SigV4:
    """AWS Signature Version 4.

    A body is covered by `request.payload_sha256`; without it the payload is declared unsigned.

    Args:
        credentials: Called for every request, so that refreshed credentials are picked up.
        region: Region of the credential scope.
    """

    def __init__(self, credentials: Callable[[], Credentials], region: str) -> None:
        self._credentials = credentials
        self._region = region

    def sign(self, request: Request, *, host: str, path: str, now: float) -> dict[str, str]:
        """See `Signer.sign`."""
        credentials = self._credentials()
        stamp = _stamp(int(now))
        payload = request.payload_sha256 or (_UNSIGNED if request.body else _EMPTY_SHA256)
        added = {"x-amz-content-sha256": payload, "x-amz-date": stamp}
        if credentials.token:
            added["x-amz-security-token"] = credentials.token
        signed = {"host": host, **added}
        for name, value in request.headers.items():
            signed[name] = " ".join(value.split())
        names = sorted(signed)
        headers = "".join([f"{name}:{signed[name]}\n" for name in names])
        covered = ";".join(names)
        query = request.query_string()
        if query:
            query = "&".join([part if "=" in part else f"{part}=" for part in query.split("&")])
        canonical = f"{request.method}\n{path}\n{query}\n{headers}\n{covered}\n{payload}"
        scope = f"{stamp[:8]}/{self._region}/s3/aws4_request"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        signature = hmac.digest(
            _signing_key(credentials.secret_key, stamp[:8], self._region),
            f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}".encode(),
            "sha256",
        ).hex()
        added["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={covered}, Signature={signature}"
        )
        return added


@lru_cache(maxsize=4)
def _stamp(second: int) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))


@lru_cache(maxsize=16)
def _signing_key(secret: str, day: str, region: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


class HmacSha1:
    """OBS's own signature, and AWS's older one (version 2): both are HMAC-SHA1 over the same text.

    Args:
        credentials: Called for every request, so that refreshed credentials are picked up.
        path_style: As the endpoint's: it decides how a bucket without a key is written.
        scheme: 'OBS' or 'AWS', the word in front of the access key.
        header_prefix: 'x-obs-' or 'x-amz-'.
    """

    def __init__(
        self,
        credentials: Callable[[], Credentials],
        *,
        path_style: bool,
        scheme: str,
        header_prefix: str,
    ) -> None:
        self._credentials = credentials
        self._path_style = path_style
        self._scheme = scheme
        self._header_prefix = header_prefix

    def sign(self, request: Request, *, host: str, path: str, now: float) -> dict[str, str]:
        """See `Signer.sign`."""
        credentials = self._credentials()
        added = {"date": http_date(now)}
        if credentials.token:
            added[f"{self._header_prefix}security-token"] = credentials.token
        text = self._text(request, {**request.headers, **added})
        mac = hmac.digest(credentials.secret_key.encode(), text.encode(), "sha1")
        signature = binascii.b2a_base64(mac, newline=False).decode()
        added["authorization"] = f"{self._scheme} {credentials.access_key}:{signature}"
        return added

    def _text(self, request: Request, headers: Mapping[str, str]) -> str:
        special = "".join(
            f"{name}:{value.strip()}\n"
            for name, value in sorted(headers.items())
            if name.startswith(self._header_prefix)
        )
        resource = f"/{request.bucket}" if request.bucket else "/"
        if request.bucket and (request.key or not self._path_style):
            resource += "/" + quote_key(request.key)
        signed_query = [
            name if value is None else f"{name}={value}"
            for name, value in sorted(request.query.items())
            if name in _SIGNED_QUERY
        ]
        if signed_query:
            resource += "?" + "&".join(signed_query)
        return (
            f"{request.method}\n{headers.get('content-md5', '')}\n"
            f"{headers.get('content-type', '')}\n{headers['date']}\n{special}{resource}"
        )
