"""Idle connections of one client, shared by its threads and by nobody else."""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress

from .connection import Connection
from .request import Endpoint

__all__ = ["Pool"]

_MAX_IDLE = 15.0


class Pool:
    """Keeps connections open between requests, last used first.

    `deque.append`, `deque.pop` and the methods of `set` are atomic, so threads need no lock.

    Args:
        endpoint: Where to connect.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._idle: dict[str, deque[Connection]] = {}
        self._busy: set[Connection] = set()

    def take(self, host: str, *, fresh: bool = False) -> Connection:
        """A connection for one request; end with `give_back` or `discard`.

        Args:
            host: Host name to connect to.
            fresh: Do not use an idle connection, which the server may be closing just now.

        Raises:
            OSError: No connection can be made.
        """
        idle = self._idle.get(host)
        while idle and not fresh:
            try:
                connection = idle.pop()
            except IndexError:  # another thread was quicker
                break
            # It may have been interrupted just when it was given back.
            if not connection.interrupted and time.monotonic() - connection.idle_since < _MAX_IDLE:
                self._busy.add(connection)
                return connection
            connection.close()
        connection = Connection(
            host,
            self._endpoint.port,
            tls=self._endpoint.tls,
            connect_timeout=self._endpoint.connect_timeout,
        )
        self._busy.add(connection)
        return connection

    def give_back(self, host: str, connection: Connection) -> None:
        """Keep the connection for the next request if it can serve one."""
        self._busy.discard(connection)
        if not (connection.reusable and self._endpoint.keep_alive):
            connection.close()
            return
        connection.idle_since = time.monotonic()
        self._idle.setdefault(host, deque()).append(connection)

    def discard(self, connection: Connection) -> None:
        """Close a connection whose state is unknown."""
        self._busy.discard(connection)
        connection.close()

    def interrupt(self) -> None:
        """Make every thread that waits for an answer fail now.

        Idle connections go too: what cleans up after an interrupt must not wait on a dead one.
        """
        for connection in tuple(self._busy):
            connection.interrupt()
        self.close()

    def close(self) -> None:
        """Close the idle connections."""
        for idle in tuple(self._idle.values()):
            with suppress(IndexError):  # other threads take from it meanwhile
                while True:
                    idle.pop().close()
