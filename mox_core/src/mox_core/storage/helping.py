"""What a helper process does (see `mox_core.storage.helper`): copies and reports."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from importlib import import_module
from typing import Any

from mox_core.storage import pool as pools
from mox_core.storage.auth import Settings
from mox_core.storage.copying import Copier, Job
from mox_core.storage.driver import Driver
from mox_core.storage.errors import MoxFileRespException
from mox_core.storage.helper import receive, send, unpacked
from mox_core.storage.retry import Stopped

__all__ = ["main"]

REPORT = 32
"""Files after which a report goes out at once."""

UNDO = 5.0
"""Seconds that tidying up may take: the other process waits for a second at most, if it lives."""

PAUSE = 0.05
"""Seconds after which it goes out anyway."""


def main() -> None:
    """Serves the process at the other end of descriptor 0 until it hangs up or dies."""
    with socket.socket(fileno=0) as line:
        parent, recipes, threads, processes = receive(line)
        source, target = [_driver(*recipe) for recipe in recipes]

        def interrupt() -> None:
            source.interrupt()
            target.interrupt()

        pools.UNDO = UNDO
        with contextlib.suppress(Stopped), pools.Pool(threads, interrupt=interrupt) as pool:
            pool.share(0, processes=processes)
            _Reporting(source, target, pool=pool, line=line).serve(parent)
            raise Stopped  # the pool then removes what is half done
    os._exit(0)  # what hangs in a dead connection must not hold this process up


def _driver(factory: str, scheme: str, settings: dict[str, Any]) -> Driver:
    module, _, name = factory.partition(":")
    driver: Driver = getattr(import_module(module), name)(scheme, Settings(**settings))
    return driver


class _Reporting(Copier):
    """A Copier that tells another process what became of each file."""

    def __init__(
        self, source: Driver, target: Driver, *, pool: pools.Pool, line: socket.socket
    ) -> None:
        self._sum = _Sum()
        super().__init__(source, target, pool=pool, progress=self._sum)
        self._line = line
        self._lock = threading.Lock()
        self._copied: list[int] = []
        self._gone_wrong: list[tuple[int, bytes]] = []
        self._left = 0

    def serve(self, parent: int) -> None:
        """Takes jobs until the other end hangs up."""
        send(self._line, ())  # ready
        poll = select.poll()
        poll.register(self._line, select.POLLIN)
        # A child that the other process forked may keep the socket open.
        while os.getppid() == parent and not self.pool.stop.is_set():
            if not poll.poll(PAUSE * 1000):
                self._report()
                continue
            try:
                jobs = receive(self._line)
            except (EOFError, OSError):
                return
            with self._lock:
                self._left += len(jobs)
            for number, path, goal, info in jobs:
                self.add(Job(path, goal, unpacked(info), number))

    def settled(self, job: Job, error: BaseException | None = None) -> None:
        """See `Copier.settled`."""
        super().settled(job, error)
        with self._lock:
            self._left -= 1
            if error is None:
                self._copied.append(job.number)
            else:
                self._gone_wrong.append((job.number, _pickled(error)))
            due = not self._left or len(self._copied) >= REPORT
        if due:
            self._report()

    def _report(self) -> None:
        with self._lock:
            if not (self._copied or self._gone_wrong):
                return
            message = self._copied, self._gone_wrong, self._sum.taken()
            self._copied, self._gone_wrong = [], []
            try:
                send(self._line, message)
            except OSError:
                self.pool.stop.set()


class _Sum:
    """A Progress that adds up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes = 0

    def bytes(self, count: int) -> None:
        with self._lock:
            self._bytes += count

    def file(self) -> None:
        pass

    def taken(self) -> int:
        with self._lock:
            count, self._bytes = self._bytes, 0
        return count


def _pickled(error: BaseException) -> bytes:
    import pickle

    try:
        data = pickle.dumps(error)
        pickle.loads(data)
    except Exception:  # an exception of somebody's own
        data = pickle.dumps(MoxFileRespException(f"{type(error).__name__}: {error}"))
    return data
