"""What a refusal or a failure of an object store means to the core."""

from __future__ import annotations

import socket
import sys

from mox_core.storage.errors import (
    AccessDeniedError,
    ChangedError,
    MoxFileNotExistsException,
    MoxFileRespException,
    Resp,
    TransientError,
    UnsupportedError,
)

__all__ = ["UnexpectedAnswerError", "failure", "is_unexpected", "refusal"]

_TRANSIENT_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
_ODD_STATUSES = frozenset({301, 302, 303, 307, 308, 405, 411, 501})
_TRANSIENT_CODES = frozenset(
    {
        "BadDigest",
        "ConditionalRequestConflict",
        "IncompleteBody",
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "XAmzContentSHA256Mismatch",
    }
)
_FINAL_CODES = frozenset(
    {
        "EntityTooLarge",
        "EntityTooSmall",
        "InvalidBucketName",
        "InvalidPart",
        "InvalidPartOrder",
        "InvalidRange",
        "KeyTooLongError",
    }
)
_ADVICE = {
    "InvalidAccessKeyId": "Check `ak` of set_auth, or ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "Check `sk` of set_auth, or SECRET_ACCESS_KEY",
    "RequestTimeTooSkewed": "Check the clock of this machine",
    "ExpiredToken": "The temporary credentials have expired: get new ones",
    "NoSuchBucket": "Check the bucket's name, the server and the region",
}


class UnexpectedAnswerError(TransientError):
    """An answer that the data plane does not understand; the vendor's SDK may."""


def is_unexpected(resp: Resp) -> bool:
    """Whether the vendor's SDK should be asked: a redirect, another region, a dialect of 400s."""
    if resp.status == 400:
        return resp.errorCode not in _FINAL_CODES | _TRANSIENT_CODES
    return resp.status in _ODD_STATUSES or resp.errorCode == "SignatureDoesNotMatch"


def refusal(url: str, resp: Resp, *, retry_after: str = "") -> Exception:
    """The exception for an HTTP status of 300 and more, or an error inside a 200.

    Args:
        url: What the request was about, for the message.
        resp: The server's answer.
        retry_after: The header of that name; only seconds are heeded, not a date.
    """
    code, status = resp.errorCode, resp.status
    said = f"{status} {code}".strip()
    if resp.errorMessage:
        said += f": {resp.errorMessage}"
    advice = f"\n  {_ADVICE[code]}" if code in _ADVICE else ""
    if code == "ObjectNotAppendable":
        return UnsupportedError(f"{url} cannot be appended to ({said})", resp=resp)
    if status == 412 or code in ("PreconditionFailed", "PositionNotEqualToLength"):
        return ChangedError(f"{url} is not of the expected version ({said})", resp=resp)
    if status in _TRANSIENT_STATUSES or code in _TRANSIENT_CODES:
        error = TransientError(f"{url}: the server answered {said}", resp=resp)
        error.retry_after = float(retry_after) if retry_after.isdecimal() else 0.0
        return error
    if status == 404:
        what = f"the bucket of {url}" if code == "NoSuchBucket" else url
        return MoxFileNotExistsException(f"{what} does not exist ({said}){advice}", resp=resp)
    if status in (401, 403):
        return AccessDeniedError(f"access to {url} was denied ({said}){advice}", resp=resp)
    return MoxFileRespException(
        f"{url}: the server refused the request ({said}){advice}", resp=resp
    )


def failure(url: str, origin: str, error: OSError) -> Exception:
    """The exception for a request that got no answer.

    Args:
        url: What the request was about.
        origin: `http(s)://host:port` of the server.
        error: What the socket said.
    """
    reason = f"{error.strerror or error}" or type(error).__name__
    ssl = sys.modules.get("ssl")  # without it no error is of TLS
    if ssl and isinstance(error, ssl.SSLCertVerificationError):
        return MoxFileRespException(
            f"{url}: the certificate of {origin} cannot be trusted: {error.verify_message}\n"
            f"  Name its CA file: set_auth(ssl_verify='/path/ca.pem')"
        )
    if ssl and isinstance(error, ssl.SSLError):
        return MoxFileRespException(
            f"{url}: no TLS connection to {origin}: {reason}\n"
            f"  If the server speaks plain HTTP: set_auth(is_secure=False)"
        )
    if isinstance(error, socket.gaierror) and error.errno != socket.EAI_AGAIN:
        return MoxFileRespException(
            f"{url}: the host of {origin} is unknown: {reason}\n"
            f"  Check set_auth(server=...), S3_ENDPOINT, and path_style"
        )
    return TransientError(f"{url}: no answer from {origin}: {reason}")
