"""Threads that work off a copy: bounded, stoppable within a second, never in the way of exit."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable

from mox_core.storage.retry import Stopped

__all__ = ["Pool"]

Task = Callable[[], None]

WAITING = 4096
"""Tasks that may wait; a longer listing pauses, so that its memory stays constant."""

GRACE = 0.4
"""Seconds that stopped threads get to end by themselves."""


class Pool:
    """Runs tasks in at most `threads` threads, which start when there is work for them.

    Tasks deal with their own errors. What the parts of one large file add goes before files that
    wait, so that few large files are open at a time.

    Args:
        threads: 0 runs every task at once, in the caller's thread.
        interrupt: called when the pool is stopped, to wake threads that wait for a server.
    """

    def __init__(self, threads: int, *, interrupt: Callable[[], None] = lambda: None) -> None:
        self.stop = threading.Event()
        self._interrupt = interrupt
        self._limit = threads
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._caller = threading.Condition(self._lock)
        self._files: deque[Task] = deque()
        self._parts: deque[Task] = deque()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._open = 0
        self._closed = False
        self._bug: BaseException | None = None
        self._undo: dict[object, Callable[[], object]] = {}

    def add(self, task: Task, *, first: bool = False) -> None:
        """Queues a task; waits while too many wait already."""
        if not self._limit:
            task()
            return
        with self._lock:
            while not first and len(self._files) >= WAITING and not self.stop.is_set():
                self._caller.wait()
            (self._parts if first else self._files).append(task)
            self._open += 1
            if self._idle:
                self._wake.notify()
            elif len(self._threads) < self._limit:
                # Daemons: a thread that hangs in a dead connection must not hold up the exit.
                thread = threading.Thread(target=self._work, name="mox-file", daemon=True)
                self._threads.append(thread)
                thread.start()

    def undo_on_stop(self, key: object, undo: Callable[[], object] | None) -> None:
        """Says what removes a half-done piece of work when the copy is stopped (None: done)."""
        if undo is None:
            self._undo.pop(key, None)
        else:
            self._undo[key] = undo

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                self._drain()
            if self._bug is not None:
                kind = type(self._bug)
        except BaseException:
            kind = BaseException
            raise
        finally:
            if kind is not None:
                self._abandon()
            with self._lock:
                self._closed = True
                self._wake.notify_all()
        for thread in self._threads:
            thread.join()
        if self._bug is not None:
            raise self._bug

    def _drain(self) -> None:
        with self._lock:
            while self._open and not self.stop.is_set():
                self._caller.wait()

    def _abandon(self) -> None:
        self.stop.set()
        with self._lock:
            self._open -= len(self._files) + len(self._parts)
            self._files.clear()
            self._parts.clear()
            self._closed = True
            self._wake.notify_all()
        self._interrupt()
        deadline = time.monotonic() + GRACE
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._threads = [thread for thread in self._threads if not thread.is_alive()]
        undos = [self._undo.pop(key, None) for key in list(self._undo)]
        helpers = [
            threading.Thread(target=_quietly, args=(undo,), daemon=True) for undo in undos if undo
        ]
        for helper in helpers:
            helper.start()
        deadline = time.monotonic() + GRACE
        for helper in helpers:
            helper.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        try:
            while True:
                with self._lock:
                    while not (self._parts or self._files):
                        if self._closed:
                            return
                        self._idle += 1
                        self._wake.wait()
                        self._idle -= 1
                    task = self._parts.popleft() if self._parts else self._files.popleft()
                    if len(self._files) == WAITING // 2:
                        self._caller.notify()
                with contextlib.suppress(Stopped):
                    task()
                with self._lock:
                    self._open -= 1
                    if not self._open:
                        self._caller.notify()
        except BaseException as error:
            self._bug = error
            self.stop.set()
            with self._lock:
                self._caller.notify()


def _quietly(undo: Callable[[], object]) -> None:
    with contextlib.suppress(Exception):
        undo()
