"""Threads that work off a copy: bounded, stoppable within a second, never in the way of exit."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from mox_core.storage.retry import Stopped

__all__ = ["CPUS", "Pool", "Task"]

Task = Callable[[], None]
T = TypeVar("T", bound=Task)

WAITING = 4096
"""Tasks that may wait; a longer listing pauses, so that its memory stays constant."""

LOCKED = 0.00015
"""Seconds of CPU time of a small object, nearly all of them under Python's lock: a second thread
that does not wait for a network would only wait for the first (measured: 20,000 downloads of 4 KiB
over loopback took 2.8 s of CPU time with one thread, 4.3 s with two)."""

CONTENDED = 1.6
"""How much more CPU time it takes while threads hand the lock to each other (see above)."""

WAITS = 1.6
"""A task that takes so many times its CPU time waits for a network, and threads help."""

BUSY = 0.8
"""Tasks that together use so much of a processor are held up by Python's lock, not by waiting."""

WINDOW = 0.05
"""Seconds over which tasks are judged at least: one that other programs held up must not decide."""

CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

FEW = 5
"""Tasks that one thread does alone to see whether more would help."""

PATIENCE = 0.02
"""Seconds without any finished task after which all threads may start."""

SIGNALS = 0.2
"""Seconds after which a waiting caller looks up: Python handles a signal that arrives just before
its thread falls asleep, or in another thread, only when this thread runs again."""

GRACE = 0.4
"""Seconds that stopped threads get to end by themselves."""

UNDO = 0.4
"""Seconds that what undoes their work gets after that."""


class Pool:
    """Runs tasks in at most `threads` threads, which start when there is work for them.

    Tasks deal with their own errors. What the parts of one large file add goes before files that
    wait, so that few large files are open at a time.

    How many threads really run follows from what the tasks do: one while they only compute, all
    while they wait for a network (see `_finished`).

    Args:
        threads: the most; 0 runs every task at once, in the caller's thread.
        interrupt: called when the pool is stopped, to wake threads that wait for a server.
    """

    def __init__(self, threads: int, *, interrupt: Callable[[], None] = lambda: None) -> None:
        self.stop = threading.Event()
        self._interrupt = interrupt
        self._limit = threads
        self._allowed = min(threads, 1)
        self._done = 0
        self._count = 0
        self._cpu = self._wall = 0.0
        self._since = 0.0
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        # What the caller waits for. No condition: the exception of a signal handler may leave
        # Condition.wait without its lock, and the `with` around it would release another's.
        self._bell = threading.Lock()
        self._bell.acquire()
        self._files: deque[Task] = deque()
        self._parts: deque[Task] = deque()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._open = 0
        self._closed = False
        self._parts_came = False
        self._bug: BaseException | None = None
        self._undo: dict[object, Callable[[], object]] = {}
        self._cpus = CPUS
        self._borrowers = threading.Condition(self._lock)

    def add(self, task: Task, *, first: bool = False) -> None:
        """Queues a task; waits while too many wait already."""
        if not self._limit:
            task()
            return
        while not first and len(self._files) >= WAITING and not self.stop.is_set():
            self._wait()
        with self._lock:
            (self._parts if first else self._files).append(task)
            self._open += 1
            if first and not self._parts_came:
                # Parts of a large file are long tasks, though the task that adds them is quick.
                self._parts_came = True
                self._allowed = self._limit
            if self._idle:
                self._wake.notify()
            else:
                self._start_threads()
            self._borrowers.notify()
            measure = self._open == FEW and self._done < FEW and self._allowed < self._limit
        if measure and not first:
            self._measure()

    def _measure(self) -> None:
        """Lets the first tasks run while the caller, which would compete for the lock, waits."""
        end = time.monotonic() + PATIENCE
        while not self._done and (left := end - time.monotonic()) > 0:
            self._bell.acquire(timeout=left)
        if not self._done:
            self._allow_all()
            return
        end = time.monotonic() + PATIENCE
        while self._open and self._done < FEW and (left := end - time.monotonic()) > 0:
            self._bell.acquire(timeout=left)

    def _wait(self) -> None:
        """Lets the caller wait for a while."""
        seen = self._done
        rung = self._bell.acquire(timeout=SIGNALS)
        if not rung and seen == self._done:  # something is slow, which may be a single task
            self._allow_all()

    def _ring(self) -> None:
        """Wakes the caller; called with the lock held."""
        if self._bell.locked():
            self._bell.release()

    def _allow_all(self) -> None:
        with self._lock:
            if not self._closed:
                self._allowed = self._limit
                self._start_threads()

    @property
    def busy(self) -> bool:
        """Whether tasks wait or run in threads."""
        return self._open > 0

    def _start_threads(self) -> None:
        waiting = len(self._files) + len(self._parts)
        while waiting > 0 and len(self._threads) < self._allowed:
            # Daemons: a thread that hangs in a dead connection must not hold up the exit.
            thread = threading.Thread(target=self._work, name="mox-file", daemon=True)
            self._threads.append(thread)
            thread.start()
            waiting -= 1

    def _finished(self, wall: float, cpu: float) -> None:
        """Allows as many threads as pay; asked after the first tasks, then from time to time."""
        self._done += 1
        now = time.monotonic()
        if self._done == 1:  # it made the connection
            self._since = now
            return
        self._count += 1
        self._wall += wall
        self._cpu += cpu
        if self._done != FEW and (self._count < 32 or now - self._since < WINDOW):
            return
        waits = self._wall / max(self._cpu, 1e-6)
        if waits > WAITS * len(self._threads):
            self._allowed = max(self._allowed, min(round(2 * waits), self._limit))
            self._start_threads()
        elif self._done > FEW and self._cpu > BUSY * (now - self._since):
            locked = LOCKED * (CONTENDED if len(self._threads) > 1 else 1)
            pays = round(self._cpu / self._count / locked)
            self._allowed = max(1, min(pays, self._cpus, self._limit))
            self._start_threads()
        self._count, self._cpu, self._wall, self._since = 0, 0.0, 0.0, now

    # ---- tasks that another process runs

    def lend(
        self, kind: type[T], *, count: int, fits: Callable[[T], bool], wait: bool
    ) -> Sequence[T] | None:
        """Hands out tasks that wait here, for `settle` or `take_back`.

        Args:
            kind: what can be lent.
            count: the most; a quarter of those that wait, so that all end at the same time.
            fits: whether to hand out a task too; the first answer of no ends the search.
            wait: whether to wait for tasks.

        Returns:
            The tasks; None when the pool has ended.
        """
        with self._lock:
            while not self._closed:
                if tasks := self._choose(kind, count, fits):
                    if len(self._files) <= WAITING // 2:
                        self._ring()
                    return tasks
                if not wait:
                    return ()
                self._borrowers.wait()
        return None

    def _choose(self, kind: type[T], count: int, fits: Callable[[T], bool]) -> list[T]:
        count = min(count, -(-len(self._files) // 4))
        tasks: list[T] = []
        while len(tasks) < count:
            task = self._files[-1]  # from the end: other folders than this pool writes to
            if not isinstance(task, kind) or not fits(task):
                break
            tasks.append(task)
            self._files.pop()
        if not tasks and self._files:
            self._files.rotate()  # the last one is for this pool; the next search sees another
        return tasks

    def settle(self, count: int) -> None:
        """So many tasks that were lent are done."""
        with self._lock:
            self._open -= count
            self._done += count
            if not self._open:
                self._ring()

    def take_back(self, tasks: Iterable[Task]) -> None:
        """Runs tasks here that were lent."""
        with self._lock:
            if not self._closed:
                self._files.extend(tasks)
                self._wake.notify_all()
                self._start_threads()

    def share(self, threads: int, *, processes: int) -> None:
        """Adds to the most threads (or takes away), and says how many processes share the CPUs."""
        with self._lock:
            self._limit += threads
            self._allowed = min(self._allowed, self._limit)
            self._cpus = max(1, CPUS // processes)

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
                self._borrowers.notify_all()
        for thread in list(self._threads):
            thread.join()
        if self._bug is not None:
            raise self._bug

    def _drain(self) -> None:
        if self._open and not self._done and self._allowed < self._limit:
            self._measure()
        while self._open and not self.stop.is_set():
            self._wait()

    def _abandon(self) -> None:
        self.stop.set()
        with self._lock:
            self._open -= len(self._files) + len(self._parts)
            self._files.clear()
            self._parts.clear()
            self._closed = True
            self._wake.notify_all()
            self._borrowers.notify_all()
        if self._open or self._undo:  # else only others would notice
            self._interrupt()
        deadline = time.monotonic() + GRACE
        for thread in list(self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))
        self._threads = [thread for thread in self._threads if not thread.is_alive()]
        undos = [self._undo.pop(key, None) for key in list(self._undo)]
        helpers = [
            threading.Thread(target=_quietly, args=(undo,), daemon=True) for undo in undos if undo
        ]
        for helper in helpers:
            helper.start()
        deadline = time.monotonic() + UNDO
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
                        self._ring()
                began, busy = time.monotonic(), time.thread_time()
                with contextlib.suppress(Stopped):
                    task()
                with self._lock:
                    self._open -= 1
                    self._finished(time.monotonic() - began, time.thread_time() - busy)
                    if not self._open or self._done <= FEW:
                        self._ring()
                    if len(self._threads) > self._allowed:
                        self._threads.remove(threading.current_thread())
                        return
        except BaseException as error:
            self._bug = error
            self.stop.set()
            with self._lock:
                self._ring()


def _quietly(undo: Callable[[], object]) -> None:
    with contextlib.suppress(Exception):
        undo()
