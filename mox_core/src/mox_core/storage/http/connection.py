"""One keep-alive HTTP/1.1 connection, read without copies where the socket allows it."""

from __future__ import annotations

import errno
import io
import os
import re
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from mox_core.storage.driver import Body, FileSlice, Piped

if TYPE_CHECKING:
    import ssl

__all__ = ["Connection", "ProtocolError", "ShortBodyError", "SourceChangedError"]

_BUFFER = 256 * 1024
_PIPE = 1 << 20  # the most that Linux allows everybody
_MAX_HEAD = 64 * 1024
_MAX_INTERIM = 8
_SMALL_BODY = 16 * 1024
_STATUS = re.compile(r"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n]*)?")
_FIELD = re.compile(r"\r\n([^\s:]+):[ \t]*([^\r\n]*)")
_DIGITS = re.compile(r"[0-9]{1,18}")
_HEX = re.compile(rb"[0-9a-fA-F]{1,15}")


class ProtocolError(OSError):
    """The other side does not speak HTTP as it should."""


class ShortBodyError(OSError):
    """The connection ended before the body did."""


class SourceChangedError(Exception):
    """A local file became shorter while it was sent; trying again would not help."""


class Connection:
    """A socket with a read buffer; used by one thread at a time.

    Args:
        host: Host to connect to; with TLS its certificate is checked against this name.
        port: TCP port.
        tls: TLS context, or None for plain HTTP.
        connect_timeout: Seconds to wait for the connection.

    Raises:
        OSError: The connection cannot be made.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        connect_timeout: float = 10.0,
    ) -> None:
        sock = socket.create_connection((host, port), timeout=connect_timeout)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if tls is not None:
                sock = tls.wrap_socket(sock, server_hostname=host)
        except BaseException:
            sock.close()
            raise
        self._sock = sock
        self._plain = tls is None
        self._timeout = -1.0
        self._wait_all = socket.MSG_WAITALL if self._plain else 0
        self._buffer = memoryview(bytearray(_BUFFER))
        self._pipe: tuple[io.FileIO, io.FileIO] | None = None
        self._start = self._end = 0
        self._left = 0  # of the body; -1 for one in chunks
        self._keep_alive = False
        self._send_error: OSError | None = None
        self.used = 0
        self.interrupted = False
        self.idle_since = time.monotonic()

    def set_timeout(self, seconds: float) -> None:
        """Set how long to wait for the socket to become readable or writable."""
        if seconds == self._timeout:
            return
        self._timeout = seconds
        if not self._plain:
            self._sock.settimeout(seconds)
            return
        # The kernel's time-outs cost no poll() before each read, and leave sendfile and splice be.
        self._sock.settimeout(None)
        limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    @property
    def reusable(self) -> bool:
        """Whether the next request may be sent on this connection."""
        return self._keep_alive and not self._left and self._start == self._end

    def close(self) -> None:
        """Close the socket."""
        self._keep_alive = False
        self._sock.close()
        pipe, self._pipe = self._pipe, None
        for end in pipe or ():
            end.close()

    def interrupt(self) -> None:
        """Make the thread that waits on this connection fail at once."""
        self.interrupted = True
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    # ---- sending

    def send(self, head: bytes, body: Body) -> None:
        """Send a request head and its body.

        A server that refuses a request may close the connection before it has read the body; its
        answer can still be read, so a broken pipe is only reported by `read_head`.

        Raises:
            TimeoutError: The server does not take the data.
            SourceChangedError: The file behind the body shrank.
            OSError: The connection failed.
        """
        self.used += 1
        self._keep_alive = False
        try:
            if isinstance(body, FileSlice):
                self._sock.sendall(head)
                self._send_file(body)
            elif len(body) < _SMALL_BODY:
                self._sock.sendall(b"".join((head, body)))
            else:
                self._sock.sendall(head)
                self._sock.sendall(body)
        except BlockingIOError:
            raise TimeoutError("the server stopped taking data") from None
        except (BrokenPipeError, ConnectionResetError) as error:
            self._send_error = error

    def _send_file(self, part: FileSlice) -> None:
        sent = 0
        while sent < part.size:
            at, left = part.offset + sent, part.size - sent
            if self._plain:
                count = os.sendfile(self._sock.fileno(), part.fd, at, left)
            else:
                data = os.pread(part.fd, min(left, _BUFFER), at)
                self._sock.sendall(data)
                count = len(data)
            if not count:
                raise SourceChangedError(f"the file shrank to {at} bytes while it was sent")
            sent += count

    # ---- receiving

    def read_head(self, method: str) -> tuple[int, Mapping[str, str]]:
        """Read the status and the headers (names in lower case) of the next final response.

        Args:
            method: Method of the request; a reply to HEAD has no body.

        Raises:
            ShortBodyError: The server closed the connection instead.
            ProtocolError: What came is not an HTTP response.
            TimeoutError: Nothing came.
        """
        for _ in range(_MAX_INTERIM):
            try:
                text = self._head_text()
            except (ShortBodyError, ConnectionResetError) as error:
                raise self._send_error or error from None
            line = text.partition("\r\n")[0]
            first = _STATUS.fullmatch(line)
            if first is None:
                raise ProtocolError(f"not an HTTP response: {line[:60]!r}")
            fields = _FIELD.findall(text)
            headers = {name.lower(): value.rstrip() for name, value in fields}
            if len(fields) != text.count("\r\n"):
                raise ProtocolError(f"malformed response header: {text.removeprefix(line)[:200]!r}")
            if len(headers) != len(fields):  # some come twice
                lengths = {v.rstrip() for name, v in fields if name.lower() == "content-length"}
                if len(lengths) > 1:
                    raise ProtocolError("two different Content-Length headers")
            status = int(first[2])
            if status >= 200:
                self._frame(method, status, headers, minor=first[1])
                return status, headers
        raise ProtocolError("the server sends only interim responses")

    def _head_text(self) -> str:
        buffer = self._buffer.obj
        assert isinstance(buffer, bytearray)
        if self._start == self._end:
            self._start = self._end = 0
        limit = self._start + _MAX_HEAD
        while (stop := buffer.find(b"\r\n\r\n", self._start, min(self._end, limit))) < 0:
            if self._end >= min(limit, _BUFFER):
                raise ProtocolError("the response head is longer than 64 KiB")
            self._more("without an answer")
        text = str(self._buffer[self._start : stop], "latin-1")
        self._start = stop + 4
        return text

    def _frame(self, method: str, status: int, headers: Mapping[str, str], *, minor: str) -> None:
        closes = "close" in headers.get("connection", "").lower()
        self._keep_alive = minor == "1" and not closes and self._send_error is None
        if self._send_error is not None and status < 400:
            raise self._send_error
        coding = headers.get("transfer-encoding", "").lower()
        length = headers.get("content-length", "")
        if method == "HEAD" or status in (204, 304):
            self._left = 0
        elif coding == "chunked" and not length:  # both are an error (RFC 9112, section 6.3)
            self._left = -1
        elif coding or not _DIGITS.fullmatch(length):
            # What ends with the connection is not worth its own way of reading.
            if coding or length or status < 300:
                raise ProtocolError(f"no length that is understood: {coding or length!r:.40}")
            self._left, self._keep_alive = 0, False
        else:
            self._left = int(length)

    def body(self, *, piped: bool = False) -> Iterator[memoryview | Piped]:
        """The body in pieces; each is overwritten by the next.

        Args:
            piped: Whether pieces may be left in a pipe, where that is possible.

        Raises:
            ShortBodyError: The connection ended early; every byte received was yielded before.
            ProtocolError: The body is not framed as the head says.
            TimeoutError: Nothing came for the read time-out.
        """
        if self._left < 0:
            yield from self._chunks()
        elif piped and self._plain and hasattr(os, "splice"):
            yield from self._spliced(self._left)
        else:
            yield from self._exactly(self._left)
        self._left = 0

    def _exactly(self, left: int) -> Iterator[memoryview]:
        while left:
            if self._start == self._end:
                self._start = self._end = 0
            stop = min(self._start + left, _BUFFER)
            failure: OSError | None = None
            try:
                while self._end < stop:
                    self._more("before the end of the body", stop, self._wait_all)
            except OSError as error:
                failure = error
                stop = self._end
            left -= stop - self._start
            yield self._buffer[self._start : stop]
            if failure is not None:
                raise failure
            self._start = stop

    def _spliced(self, left: int) -> Iterator[memoryview | Piped]:
        here = min(left, self._end - self._start)
        yield from self._exactly(here)
        left -= here
        if self._pipe is None:
            import fcntl

            ends = os.pipe()
            self._pipe = io.FileIO(ends[0]), io.FileIO(ends[1], "w")
            with suppress(OSError):
                fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, _PIPE)
        source, pipe = self._sock.fileno(), self._pipe[1].fileno()
        while left:
            try:
                count = os.splice(source, pipe, min(left, _PIPE))
            except BlockingIOError:
                raise TimeoutError("the server sent nothing more") from None
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOSYS):
                    raise
                yield from self._exactly(left)  # what runs here is not quite Linux
                return
            if not count:
                raise ShortBodyError("the connection closed before the end of the body")
            yield Piped(self._pipe[0].fileno(), count)
            left -= count

    def _chunks(self) -> Iterator[memoryview]:
        while size := self._chunk_size():
            yield from self._exactly(size)
            if self._line():
                raise ProtocolError("a chunk is longer than it says")
        while self._line():  # trailers
            pass

    def _chunk_size(self) -> int:
        size = self._line().partition(b";")[0].strip()
        if not _HEX.fullmatch(size):
            raise ProtocolError(f"malformed chunk size {size[:40]!r}")
        return int(size, 16)

    def _line(self) -> bytes:
        buffer = self._buffer.obj
        assert isinstance(buffer, bytearray)
        while (stop := buffer.find(b"\r\n", self._start, self._end)) < 0:
            rest = self._end - self._start
            if rest > 4096:
                raise ProtocolError("a chunk header is longer than 4 KiB")
            self._buffer[:rest] = bytes(self._buffer[self._start : self._end])
            self._start, self._end = 0, rest
            self._more("inside a chunked body")
        line = bytes(self._buffer[self._start : stop])
        self._start = stop + 2
        return line

    def _more(self, when: str, stop: int = _BUFFER, flags: int = 0) -> None:
        """Receive what fits into the buffer up to `stop`."""
        try:
            count = self._sock.recv_into(self._buffer[self._end : stop], 0, flags)
        except BlockingIOError:
            raise TimeoutError("the server sent nothing more") from None
        if not count:
            raise ShortBodyError(f"the connection closed {when}")
        self._end += count
