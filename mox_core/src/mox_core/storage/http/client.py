"""Signed requests over pooled connections; one attempt each, the caller decides about another."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from mox_core.storage.driver import Piped

from .connection import Connection, Head, ProtocolError, ShortBodyError
from .pool import Pool
from .request import Endpoint, Request
from .signers import Signer
from .times import http_time_ns

__all__ = ["Ahead", "Client", "Reply", "WireError"]

_MAX_REPLY = 256 * 1024 * 1024
_Piece = TypeVar("_Piece", memoryview, memoryview | Piped)
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")


class WireError(Exception):
    """No usable answer: told apart from the OSErrors of whoever takes the body.

    Attributes:
        reason: What went wrong.
    """

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Reply(NamedTuple):
    """A response that was read to its end.

    Attributes:
        status: HTTP status.
        headers: Lower-case names to values.
        body: The body, unless it went to a sink.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


class _Taker(NamedTuple):
    """Who takes a body; see `Client.fetch`."""

    begin: Callable[[Reply], None]
    write: Callable[[Any], None]
    piped: Callable[[], bool]


class Client:
    """Talks to one endpoint; one object serves all threads of a process.

    Args:
        endpoint: Where the service listens.
        signer: Signs every request.
        user_agent: Value of the User-Agent header.
    """

    def __init__(self, endpoint: Endpoint, signer: Signer, *, user_agent: str = "mox") -> None:
        self._endpoint = endpoint
        self._signer = signer
        self._user_agent = user_agent
        self._pool = Pool(endpoint)
        self._clock_offset = 0.0

    def exchange(self, request: Request) -> Reply:
        """Send a request and read the whole answer, whatever its status.

        Raises:
            WireError: The connection failed, or the answer is malformed or incomplete.
            SourceChangedError: The file behind the body shrank.
        """
        return self._attempt(request, None)

    def ahead(self, request: Request) -> Ahead:
        """Send a request now, and read its answer when it is asked for."""
        host = self._endpoint.address(request)
        connection: Connection | None = None
        try:
            connection = self._pool.take(host)
            connection.set_timeout(request.timeout or self._endpoint.read_timeout)
            connection.send(self._head(request), request.body)
        except OSError:
            if connection is not None:
                self._pool.discard(connection)
            connection = None
        return Ahead(self, request, host, connection)

    def fetch(
        self,
        request: Request,
        *,
        begin: Callable[[Reply], None],
        write: Callable[[Any], None],
        piped: Callable[[], bool] = lambda: False,
    ) -> Reply:
        """GET, with the body handed over in pieces; an answer other than 200 and 206 is returned.

        Args:
            request: The GET. The answer to a `range` header is checked against it.
            begin: Called once with status and headers before the first piece.
            write: Called with every piece, a memoryview that is overwritten by the next.
            piped: Asked after `begin` whether pieces may be `Piped`, too.

        Raises:
            WireError: As `exchange`; every byte received was written before.
        """
        return self._attempt(request, _Taker(begin, write, piped))

    @property
    def origin(self) -> str:
        """`http(s)://host:port`, for messages."""
        scheme = "http" if self._endpoint.tls is None else "https"
        return f"{scheme}://{self._endpoint.host}:{self._endpoint.port}"

    def interrupt(self) -> None:
        """Make every running request fail now."""
        self._pool.interrupt()

    def close(self) -> None:
        """Close the idle connections."""
        self._pool.close()

    def _attempt(
        self,
        request: Request,
        taker: _Taker | None,
    ) -> Reply:
        host = self._endpoint.address(request)
        connection, head = self._send(request, host)
        return self._receive(request, host, connection, head, taker)

    def _receive(
        self,
        request: Request,
        host: str,
        connection: Connection,
        head: Head,
        taker: _Taker | None,
    ) -> Reply:
        try:
            if taker is not None and head.status in (200, 206):
                length = _promised(request, head)
                reply = Reply(head.status, head.headers)
                taker.begin(reply)
                pieces = connection.piped_body() if taker.piped() else connection.body()
                for piece in _checked(pieces, length):
                    taker.write(piece)
            else:
                body = b"".join([bytes(piece) for piece in _checked(connection.body(), None)])
                reply = Reply(head.status, head.headers, body)
        except BaseException:
            self._pool.discard(connection)
            raise
        self._pool.give_back(host, connection)
        if reply.status == 403 and b"RequestTimeTooSkewed" in reply.body and not self._clock_offset:
            self._set_clock(reply)
            if self._clock_offset:
                return self._attempt(request, taker)
        return reply

    def _send(self, request: Request, host: str) -> tuple[Connection, Head]:
        """Send a request and read the head of the answer; the caller owns the connection."""
        head = self._head(request)
        while True:
            try:
                connection = self._pool.take(host, fresh=not request.idempotent)
            except OSError as error:
                raise WireError(error) from error
            try:
                connection.set_timeout(request.timeout or self._endpoint.read_timeout)
                connection.send(head, request.body)
                return connection, connection.read_head(request.method)
            except OSError as error:
                self._pool.discard(connection)
                # An idle connection may be closed just when it is used again.
                if not (connection.used > 1 and _was_closed(connection, error)):
                    raise WireError(error) from error
            except BaseException:
                self._pool.discard(connection)
                raise

    def _head(self, request: Request) -> bytes:
        host, path = self._endpoint.locate(request)
        signed = self._signer.sign(
            request, host=host, path=path, now=time.time() + self._clock_offset
        )
        query = request.query_string()
        target = f"{path}?{query}" if query else path
        lines = [f"{request.method} {target} HTTP/1.1", f"host: {host}"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        lines += [f"{name}: {value}" for name, value in signed.items()]
        lines.append(f"user-agent: {self._user_agent}")
        if request.body is not None:
            lines.append(f"content-length: {len(request.body)}")
        elif request.method in ("PUT", "POST"):
            lines.append("content-length: 0")
        text = "\r\n".join(lines)
        if text.count("\n") != len(lines) - 1:
            raise ValueError(f"a header of the request for {request.key!r} holds a line break")
        return f"{text}\r\n\r\n".encode()

    def _set_clock(self, reply: Reply) -> None:
        server = http_time_ns(reply.headers.get("date", "")) / 1e9
        if server:
            self._clock_offset = server - time.time()


class Ahead:
    """A request that is on its way; end with `reply` or `close`."""

    def __init__(
        self, client: Client, request: Request, host: str, connection: Connection | None
    ) -> None:
        self._client = client
        self._request = request
        self._host = host
        self._connection = connection

    def reply(self) -> Reply:
        """The answer, as `Client.exchange` would give it; asked again, the request is sent anew."""
        connection, self._connection = self._connection, None
        if connection is None:
            return self._client.exchange(self._request)
        try:
            head = connection.read_head(self._request.method)
        except BaseException as error:
            self._client._pool.discard(connection)
            if not isinstance(error, OSError):
                raise
            if not _was_closed(connection, error):
                raise WireError(error) from error
            return self._client.exchange(self._request)
        return self._client._receive(self._request, self._host, connection, head, None)

    def close(self) -> None:
        """Do without the answer."""
        if self._connection is not None:
            self._client._pool.discard(self._connection)
            self._connection = None


def _was_closed(connection: Connection, error: OSError) -> bool:
    """Whether the server closed the connection before it answered."""
    closed = isinstance(error, (ShortBodyError, ConnectionError))
    return closed and not connection.interrupted


def _promised(request: Request, head: Head) -> int:
    """The length of the body, once it is clear that it is what was asked for.

    Raises:
        WireError: It is something else.
    """
    asked = request.headers.get("range")
    partial = head.status == 206 or "content-range" in head.headers  # some say 200 to both
    if partial != (asked is not None):
        raise WireError(ProtocolError(f"asked for {asked or 'all bytes'}, got others"))
    if asked is None:
        if "content-length" not in head.headers:
            raise WireError(ProtocolError("the server does not say how long the object is"))
        return int(head.headers["content-length"])
    text = head.headers.get("content-range", "")
    found = _CONTENT_RANGE.fullmatch(text)
    first, _, last = asked.removeprefix("bytes=").partition("-")
    if (
        found is None
        or found[1] != first
        or not int(first) <= int(found[2]) <= int(last or found[2])
    ):
        raise WireError(ProtocolError(f"asked for {asked!r}, the server sent {text[:60]!r}"))
    return int(found[2]) - int(first) + 1


def _checked(pieces: Iterator[_Piece], length: int | None) -> Iterator[_Piece]:
    """A body, held against its promised length; only its own failures become WireErrors."""
    size = 0
    try:
        for piece in pieces:
            size += len(piece)
            if size > (_MAX_REPLY if length is None else length):
                raise ProtocolError("the server sent more than it should")
            yield piece
        if length is not None and size < length:
            raise ShortBodyError(f"the answer ended {length - size} bytes early")
    except OSError as error:
        raise WireError(error) from error
