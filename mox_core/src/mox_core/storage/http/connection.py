"""One keep-alive HTTP/1.1 connection, read without copies where the socket allows it."""

from __future__ import annotations

import errno
import io
import os
import re
import socket
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from mox_core.storage.driver import Body, FileSlice, Piped

if TYPE_CHECKING:
    import ssl

__all__ = ["Connection", "Head", "ProtocolError", "ShortBodyError", "SourceChangedError"]

_BUFFER = 256 * 1024
_PIPE = 1 << 20  # the most that Linux allows everybody
_MAX_HEAD = 64 * 1024
_MAX_INTERIM = 8
_STATUS = re.compile(r"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n]*)?")
_LINES = re.compile(r"(?:\r\n[^\s:]+:[^\r\n]*)*")
_DIGITS = re.compile(r"[0-9]{1,18}")
_HEX = re.compile(rb"[0-9a-fA-F]{1,15}")
# Kernel time-outs cost one system call less per read than settimeout(), which polls first.
_KERNEL_TIMEOUTS = sys.platform in ("linux", "darwin")


class ProtocolError(OSError):
    """The other side does not speak HTTP as it should."""


class ShortBodyError(OSError):
    """The connection ended before the body did."""


class SourceChangedError(Exception):
    """A local file became shorter while it was sent; trying again would not help."""


class Head(NamedTuple):
    """Status and headers of a response.

    Attributes:
        status: HTTP status.
        headers: Lower-case names to values.
        minor: Minor version of HTTP/1.
    """

    status: int
    headers: Mapping[str, str]
    minor: int = 1


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
        self._sendfile = self._plain and hasattr(os, "sendfile")
        self._buffer = memoryview(bytearray(_BUFFER))
        self._pipe: tuple[io.FileIO, io.FileIO] | None = None
        self._start = self._end = 0
        self._length: int | None = 0
        self._chunked = False
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
        if not self._plain or not _KERNEL_TIMEOUTS:
            self._sock.settimeout(seconds)
            return
        self._sock.settimeout(None)
        limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    @property
    def reusable(self) -> bool:
        """Whether the next request may be sent on this connection."""
        return self._keep_alive and self._length == 0 and self._start == self._end

    def is_stale(self) -> bool:
        """Whether the server has closed the connection, or sent what nobody asked for."""
        timeout = self._sock.gettimeout()
        try:
            self._sock.settimeout(0)
            self._sock.recv(1)
        except OSError as error:
            # TLS has an exception of its own for "nothing there"; naming it would import ssl.
            if isinstance(error, BlockingIOError) or type(error).__name__ == "SSLWantReadError":
                self._sock.settimeout(timeout)
                return False
        return True

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

    def send(self, head: bytes, body: Body | None = None) -> None:
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
            if body is None:
                self._sock.sendall(head)
            elif isinstance(body, FileSlice):
                self._sock.sendall(head)
                self._send_file(body)
            elif len(body) < 16384:
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
            if self._sendfile:
                count = os.sendfile(self._sock.fileno(), part.fd, at, left)
            else:
                data = os.pread(part.fd, min(left, _BUFFER), at)
                self._sock.sendall(data)
                count = len(data)
            if not count:
                raise SourceChangedError(f"the file shrank to {at} bytes while it was sent")
            sent += count

    # ---- receiving

    def read_head(self, method: str) -> Head:
        """Read the status line and the headers of the next final response.

        Args:
            method: Method of the request; a reply to HEAD has no body.

        Raises:
            ShortBodyError: The server closed the connection instead.
            ProtocolError: What came is not an HTTP response.
            TimeoutError: Nothing came.
        """
        for _ in range(_MAX_INTERIM):
            try:
                head = self._parse_head(self._head_text())
            except (ShortBodyError, ConnectionResetError) as error:
                raise self._send_error or error from None
            if head.status >= 200:
                self._frame(method, head)
                return head
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
            count = self._receive(self._buffer[self._end :])
            if not count:
                raise ShortBodyError("the server closed the connection without an answer")
            self._end += count
        text = str(self._buffer[self._start : stop], "latin-1")
        self._start = stop + 4
        return text

    @staticmethod
    def _parse_head(text: str) -> Head:
        lines = text.split("\r\n")
        status = _STATUS.fullmatch(lines[0])
        if status is None:
            raise ProtocolError(f"not an HTTP response: {lines[0][:60]!r}")
        if not _LINES.fullmatch(text, len(lines[0])):
            bad = next((x for x in lines[1:] if not _LINES.fullmatch(f"\r\n{x}")), "")
            raise ProtocolError(f"malformed response header: {bad[:60]!r}")
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            name = name.lower()
            value = value.strip()
            if name == "content-length" and headers.get(name, value) != value:
                raise ProtocolError("two different Content-Length headers")
            headers[name] = value
        return Head(int(status[2]), headers, int(status[1]))

    def _frame(self, method: str, head: Head) -> None:
        headers = head.headers
        connection = headers.get("connection", "").lower()
        self._keep_alive = "close" not in connection if head.minor else connection == "keep-alive"
        if self._send_error is not None:
            self._keep_alive = False
            if head.status < 400:
                raise self._send_error
        coding = headers.get("transfer-encoding", "").lower()
        length = headers.get("content-length")
        self._chunked = False
        if method == "HEAD" or head.status in (204, 304):
            self._length = 0
        elif coding:
            if coding != "chunked":
                raise ProtocolError(f"unknown Transfer-Encoding {coding[:40]!r}")
            self._chunked, self._length = True, None
        elif length is not None:
            if not _DIGITS.fullmatch(length):
                raise ProtocolError(f"malformed Content-Length {length[:40]!r}")
            self._length = int(length)
        else:
            self._length, self._keep_alive = None, False

    def body(self) -> Iterator[memoryview]:
        """The body in pieces; each is overwritten by the next.

        Raises:
            ShortBodyError: The connection ended early; every byte received was yielded before.
            ProtocolError: The body is not framed as the head says.
            TimeoutError: Nothing came for the read time-out.
        """
        if self._chunked:
            yield from self._chunks()
        elif self._length is None:
            yield from self._until_close()
        else:
            yield from self._exactly(self._length)
            self._length = 0

    def piped_body(self) -> Iterator[memoryview | Piped]:
        """As `body`, but pieces may be left in a pipe, where that is possible."""
        if self._length is None or not self._plain or not hasattr(os, "splice"):
            yield from self.body()
            return
        here = min(self._length, self._end - self._start)
        yield from self._exactly(here)
        if self._pipe is None:
            import fcntl

            ends = os.pipe()
            self._pipe = io.FileIO(ends[0]), io.FileIO(ends[1], "w")
            with suppress(OSError):
                fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, _PIPE)
        source, pipe = self._sock.fileno(), self._pipe[1].fileno()
        left = self._length - here
        while left:
            try:
                count = os.splice(source, pipe, min(left, _PIPE))
            except BlockingIOError:
                raise TimeoutError("the server sent nothing more") from None
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOSYS):
                    raise
                yield from self._exactly(left)  # what runs here is not quite Linux
                break
            if not count:
                raise ShortBodyError(f"the connection closed {left} bytes early")
            yield Piped(self._pipe[0].fileno(), count)
            left -= count
        self._length = 0

    def _exactly(self, length: int) -> Iterator[memoryview]:
        left = length
        while left:
            failure: OSError | None = None
            if self._start == self._end:
                self._start = self._end = 0
            size = min(left, _BUFFER - self._start)
            while self._end - self._start < size:
                view = self._buffer[self._end : self._start + size]
                try:
                    count = self._receive(view, self._wait_all)
                except OSError as error:
                    failure = error
                    break
                if not count:
                    failure = ShortBodyError(
                        f"the connection closed {left - (self._end - self._start)} bytes early"
                    )
                    break
                self._end += count
            stop = min(self._start + size, self._end)
            left -= stop - self._start
            yield self._buffer[self._start : stop]
            if failure is not None:
                raise failure
            self._start = stop

    def _until_close(self) -> Iterator[memoryview]:
        while True:
            if self._start < self._end:
                yield self._buffer[self._start : self._end]
            self._start = self._end = 0
            self._end = self._receive(self._buffer)
            if not self._end:
                self._length = 0
                return

    def _chunks(self) -> Iterator[memoryview]:
        while size := self._chunk_size():
            yield from self._exactly(size)
            if self._line():
                raise ProtocolError("a chunk is longer than it says")
        while self._line():  # trailers
            pass
        self._chunked, self._length = False, 0

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
            count = self._receive(self._buffer[rest:])
            if not count:
                raise ShortBodyError("the connection closed inside a chunked body")
            self._end += count
        line = bytes(self._buffer[self._start : stop])
        self._start = stop + 2
        return line

    def _receive(self, view: memoryview, flags: int = 0) -> int:
        try:
            return self._sock.recv_into(view, 0, flags)
        except BlockingIOError:
            raise TimeoutError("the server sent nothing more") from None
