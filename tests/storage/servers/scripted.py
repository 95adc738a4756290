"""A server that reads a request and answers with bytes that a test wrote."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress


class Unsigned:
    """Signs nothing."""

    def sign(self, request: object, **how: object) -> dict[str, str]:
        return {}


class ScriptedServer:
    """Answers the n-th request with the n-th script, and closes when there is none.

    A script is a list of pieces; each is sent by itself, and b'' closes the connection.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self.scripts: Iterator[list[bytes]] = iter(())
        self.requests: list[bytes] = []
        self.accepted = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Closing alone does not wake a thread that waits in accept().
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def script(self, *scripts: list[bytes] | bytes) -> None:
        self.scripts = iter([s if isinstance(s, list) else [s] for s in scripts])
        self.requests = []

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, suppress(OSError):
            while self._one(connection):
                pass

    def _one(self, connection: socket.socket) -> bool:
        request = b""
        while b"\r\n\r\n" not in request:
            data = connection.recv(65536)
            if not data:
                return False
            request += data
        self.requests.append(request)
        for piece in next(self.scripts, [b""]):
            if not piece:
                connection.shutdown(socket.SHUT_RDWR)
                return False
            connection.sendall(piece)
        return True
