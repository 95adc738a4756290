"""Signed requests over pooled connections; one attempt each, the caller decides about another."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping

from mox_core.storage.driver import Piped

from .connection import Connection, ProtocolError, ShortBodyError
from .pool import Pool
from .request import Endpoint, Place, Request
from .signers import Signer
from .times import http_time_ns

__all__ = ["Answer", "Client", "WireError"]

_MAX_REPLY = 256 * 1024 * 1024
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/(?:[0-9]{1,18}|\*)")


class WireError(Exception):
    """No usable answer: told apart from the OSErrors of whoever takes the body.

    Attributes:
        reason: What went wrong.
    """

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Client:
    """Talks to one endpoint; one object serves all threads of a process.

    Args:
        endpoint: Where the service listens.
        signer: Signs every request.
        user_agent: Value of the User-Agent header.
    """

    def __init__(self, endpoint: Endpoint, signer: Signer, *, user_agent: str = "mox") -> None:
        self.endpoint = endpoint
        self.pool = Pool(endpoint)
        self._signer = signer
        self._user_agent = user_agent
        self._clock_offset = 0.0
        self._places: dict[str, Place] = {}

    def send(self, request: Request) -> Answer:
        """Send a request; its answer is read by `with client.send(request) as answer`.

        Raises:
            WireError: The connection failed.
            SourceChangedError: The file behind the body shrank.
        """
        return Answer(self, request)

    def exchange(self, request: Request) -> Answer:
        """Send a request and read the whole answer, whatever its status.

        Raises:
            WireError: The connection failed, or the answer is malformed or incomplete.
            SourceChangedError: The file behind the body shrank.
        """
        with Answer(self, request) as answer:
            answer.read()
        return answer

    def correct_clock(self, headers: Mapping[str, str]) -> bool:
        """Sign by the server's clock from now on; once, so that no two clocks are chased."""
        server = http_time_ns(headers.get("date", "")) / 1e9
        if not server or self._clock_offset:
            return False
        self._clock_offset = server - time.time()
        return True

    def interrupt(self) -> None:
        """Make every running request fail now."""
        self.pool.interrupt()

    def close(self) -> None:
        """Close the idle connections."""
        self.pool.close()

    def place(self, bucket: str) -> Place:
        """Where requests for a bucket go."""
        place = self._places.get(bucket)
        if place is None:
            place = self._places[bucket] = self.endpoint.locate(bucket)
        return place

    def head(self, request: Request, place: Place) -> bytes:
        """The signed head of a request.

        Raises:
            ValueError: A header holds a line break.
        """
        host, path = place.host, place.path(request.key)
        now = time.time() + self._clock_offset
        signed = self._signer.sign(request, host=host, path=path, now=now)
        query = request.query_string()
        target = f"{path}?{query}" if query else path
        lines = [f"{request.method} {target} HTTP/1.1", f"host: {host}"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        lines += [f"{name}: {value}" for name, value in signed.items()]
        lines.append(f"user-agent: {self._user_agent}")
        if request.method in ("PUT", "POST"):
            lines.append(f"content-length: {len(request.body)}")
        text = "\r\n".join(lines)
        if text.count("\n") != len(lines) - 1:
            raise ValueError(f"a header of the request for {request.key!r} holds a line break")
        return f"{text}\r\n\r\n".encode()


class Answer:
    """The answer to a request that was sent; to be used by `with`, or closed.

    Attributes:
        status: HTTP status.
        headers: Lower-case names to values.
        body: The body, once `read` was called.
    """

    status: int
    headers: Mapping[str, str]
    body = b""

    def __init__(self, client: Client, request: Request) -> None:
        self._client = client
        self._request = request
        self._place = client.place(request.bucket)
        self._connection: Connection | None = None
        self._send()

    def _send(self) -> None:
        pool, request = self._client.pool, self._request
        head = self._client.head(request, self._place)
        try:
            self._connection = pool.take(self._place.address, fresh=not request.idempotent)
            self._connection.set_timeout(request.timeout or self._client.endpoint.read_timeout)
            self._connection.send(head, request.body)
        except OSError as error:
            self.close()
            raise WireError(error) from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Answer:
        while True:
            connection = self._connection
            assert connection is not None
            try:
                self.status, self.headers = connection.read_head(self._request.method)
                return self
            except OSError as error:
                self.close()
                # An idle connection may be closed just when it is used again.
                closed = isinstance(error, (ShortBodyError, ConnectionError))
                if connection.used == 1 or connection.interrupted or not closed:
                    raise WireError(error) from error
                self._send()
            except BaseException:
                self.close()
                raise

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._connection is not None:
            self._client.pool.give_back(self._place.address, self._connection)
            self._connection = None
        self.close()

    def close(self) -> None:
        """Do without the answer, or without the rest of it."""
        if self._connection is not None:
            self._client.pool.discard(self._connection)
            self._connection = None

    def read(self) -> None:
        """Read the whole body into `body`."""
        self.body = b"".join([bytes(piece) for piece in self.pieces()])  # type: ignore[arg-type]

    def promised(self) -> int:
        """The length of the content, once it is clear that it is what was asked for.

        Raises:
            WireError: It is something else.
        """
        asked, got = self._request.headers.get("range"), self.headers.get("content-range", "")
        if asked is None and not got and self.status == 200:
            if "content-length" in self.headers:
                return int(self.headers["content-length"])
        elif asked is not None and (found := _CONTENT_RANGE.fullmatch(got)):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            if found[1] == first and int(first) <= int(found[2]) <= int(last or found[2]):
                return int(found[2]) - int(first) + 1
        why = f"asked for {asked or 'all bytes'}, the server sent {got[:60] or 'others'}"
        raise WireError(ProtocolError(why))

    def pieces(
        self, length: int | None = None, *, piped: bool = False
    ) -> Iterator[memoryview | Piped]:
        """The body in pieces, each of which is overwritten by the next.

        Args:
            length: What was promised, or None.
            piped: Whether pieces may be left in a pipe.

        Raises:
            WireError: As `Client.exchange`; every byte received was given out before.
        """
        assert self._connection is not None
        size = 0
        try:
            for piece in self._connection.body(piped=piped):
                size += len(piece)
                if size > (_MAX_REPLY if length is None else length):
                    raise ProtocolError("the server sent more than it should")
                yield piece
            if length is not None and size < length:
                raise ShortBodyError(f"the answer ended {length - size} bytes early")
        except OSError as error:
            raise WireError(error) from error
