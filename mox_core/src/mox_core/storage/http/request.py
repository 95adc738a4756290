"""What one object-store request is, before it is signed and sent."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from mox_core.storage.auth import Settings
from mox_core.storage.driver import Body

if TYPE_CHECKING:
    import ssl

__all__ = ["Endpoint", "Place", "Request", "make_endpoint", "quote_key"]

_PLAIN = re.compile(r"[A-Za-z0-9_.~/-]*")
_ESCAPES = [chr(b) if _PLAIN.fullmatch(chr(b)) else f"%{b:02X}" for b in range(256)]
# Two silent attempts fit into the 30 seconds after which a dead server shall be an error.
CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 12.0
_NOTHING: Mapping[str, str] = MappingProxyType({})


def quote_key(key: str) -> str:
    """Percent-encode a key as it stands in a path."""
    # urllib.parse has this too, but takes 3 ms to import.
    return key if _PLAIN.fullmatch(key) else "".join([_ESCAPES[b] for b in key.encode()])


def _quote_query(text: str) -> str:
    return quote_key(text).replace("/", "%2F")


class Request(NamedTuple):
    """One request for a bucket or an object.

    Attributes:
        method: GET, PUT, POST, HEAD or DELETE.
        bucket: Bucket name, or '' for the service itself.
        key: Object key, not encoded; '' addresses the bucket.
        query: Name to value, not encoded; None for a name without a value (`?uploads`).
        headers: Lower-case names to values; all of them are signed.
        body: Payload.
        payload_sha256: Hexadecimal SHA-256 of the body when it is known, else None.
        idempotent: Whether sending it twice does the same as once; else it gets a new connection.
        timeout: Seconds to wait for the next byte; the endpoint's when None.
    """

    method: str
    bucket: str
    key: str = ""
    query: Mapping[str, str | None] = _NOTHING
    headers: Mapping[str, str] = _NOTHING
    body: Body = b""
    payload_sha256: str | None = None
    idempotent: bool = True
    timeout: float | None = None

    def query_string(self) -> str:
        """The encoded query, sorted by name, without the question mark."""
        if not self.query:
            return ""
        return "&".join(
            _quote_query(name) if value is None else f"{_quote_query(name)}={_quote_query(value)}"
            for name, value in sorted(self.query.items())
        )


class Place(NamedTuple):
    """Where the requests for one bucket go.

    Attributes:
        address: Host name to connect to, and to check the certificate against.
        host: The Host header.
        base: What stands before the key in the path, without a `/` at its end.
    """

    address: str
    host: str
    base: str

    def path(self, key: str) -> str:
        """The encoded path of an object, or of the bucket."""
        return f"{self.base}/{quote_key(key)}" if key or not self.base else self.base


class Endpoint(NamedTuple):
    """Where a service listens and how it names buckets.

    Attributes:
        host: Host name or IP address, without brackets.
        port: TCP port.
        tls: Context for https, None for plain http.
        path_style: Bucket in the path (True) or in the host name (False).
        connect_timeout: Seconds to wait for a connection.
        read_timeout: Seconds to wait for the next byte.
        keep_alive: Whether a connection serves more than one request.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    path_style: bool = True
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    keep_alive: bool = True

    @property
    def origin(self) -> str:
        """`http(s)://host:port`, for messages."""
        return f"http{'s' * (self.tls is not None)}://{self.host}:{self.port}"

    def named(self, settings: Settings) -> Settings:
        """The settings that lead to this endpoint, without asking anybody."""
        return settings._replace(
            server=f"[{self.host}]" if ":" in self.host else self.host,
            port=self.port,
            is_secure=self.tls is not None,
            path_style=self.path_style,
        )

    def locate(self, bucket: str) -> Place:
        """Where requests for a bucket go ('' for the service itself)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.port != (80 if self.tls is None else 443):
            host = f"{host}:{self.port}"
        # A wildcard certificate covers one label, so a bucket with dots cannot be part of the host.
        if self.path_style or not bucket or (self.tls is not None and "." in bucket):
            return Place(self.host, host, f"/{quote_key(bucket)}" if bucket else "")
        return Place(f"{bucket}.{self.host}", f"{bucket}.{host}", "")


def make_endpoint(
    settings: Settings, *, host: str, port: int | None, secure: bool, path_style: bool
) -> Endpoint:
    """The endpoint with the time-outs and the certificate checks that `settings` ask for.

    Raises:
        OSError: The CA file cannot be read.
    """
    connect, read = CONNECT_TIMEOUT, READ_TIMEOUT
    if settings.client_timeout is not None:
        connect = read = settings.client_timeout
    if settings.timeout_config is not None:
        connect, read = settings.timeout_config
    return Endpoint(
        host.strip("[]"),
        port or (443 if secure else 80),
        tls=_tls(settings.ssl_verify) if secure else None,
        path_style=path_style,
        connect_timeout=connect,
        read_timeout=read,
        keep_alive=settings.long_conn_mode is not False,
    )


def _tls(verify: bool | str | None) -> ssl.SSLContext:
    import ssl  # here, because plain HTTP does without it

    authorities = verify if isinstance(verify, str) else os.environ.get("AWS_CA_BUNDLE")
    context = ssl.create_default_context(cafile=authorities)
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
