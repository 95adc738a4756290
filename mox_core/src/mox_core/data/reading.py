"""Readers: many samples at a time, given back in their order."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

from mox_core.data.source import Sample, SampleError, Source
from mox_core.data.worker import Worker, pickled_start

__all__ = ["AsyncRawGenerator", "ParallelReader", "cores", "parallel_map", "prefetched"]

T = TypeVar("T")
R = TypeVar("R")

_TOGETHER = 8
"""Samples that one task reads, at most: less waiting for one another."""


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parallel_map(
    function: Callable[[T], R], items: Iterable[T], *, threads: int, ahead: int
) -> Iterator[R | SampleError]:
    """Calls a function in several threads and yields what it returns, in the items' order.

    Args:
        function: called with one item. A SampleError that it raises is yielded; another exception
            ends the iteration with it.
        items: taken one after the other, as they are needed.
        threads: how many.
        ahead: items that are begun before their results are asked for, at most.
    """
    together = max(1, min(_TOGETHER, ahead // (2 * threads)))
    waiting: deque[Future[list[R | SampleError]]] = deque()
    source = iter(items)

    def work(some: list[T]) -> list[R | SampleError]:
        return [_try(function, item) for item in some]

    with ThreadPoolExecutor(threads, "mox-data") as pool:
        try:
            for _ in range(max(1, ahead // together)):
                if not (some := list(islice(source, together))):
                    break
                waiting.append(pool.submit(work, some))
            while waiting:
                results = waiting.popleft().result()
                if some := list(islice(source, together)):
                    waiting.append(pool.submit(work, some))
                yield from results
        finally:
            for future in waiting:
                future.cancel()


def _try(function: Callable[[T], R], item: T) -> R | SampleError:
    try:
        return function(item)
    except SampleError as error:
        return error


class _Failed:
    def __init__(self, error: BaseException) -> None:
        self.error = error


_END: Any = object()


def prefetched(items: Iterator[T], count: int) -> Iterator[T]:
    """Yields the items, which a thread of their own makes up to `count` ahead."""
    ready: queue.Queue[Any] = queue.Queue(count)
    stop = threading.Event()

    def put(item: Any) -> bool:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(item, timeout=0.1)
                return True
        return False

    def run() -> None:
        try:
            for item in items:
                if not put(item):
                    return
            put(_END)
        except BaseException as error:
            put(_Failed(error))
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()

    thread = threading.Thread(target=run, name="mox-batches", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not _END:
            if isinstance(item, _Failed):
                raise item.error
            yield item
    finally:
        stop.set()
        thread.join()


class ParallelReader:
    """Reads samples in threads of this process.

    Args:
        source: what is read.
        indices: the numbers of the samples, in order.
        num_readers: threads.
        capacity: samples that are read ahead, at most.
    """

    def __init__(
        self,
        source: Source,
        indices: Iterable[int],
        *,
        num_readers: int = 8,
        capacity: int = 256,
    ) -> None:
        self._source = source
        self._indices = indices
        self._threads = num_readers
        self._capacity = capacity

    def __iter__(self) -> Iterator[Sample | SampleError]:
        """The samples in order; an error in the place of one that cannot be read."""
        return parallel_map(
            self._source.read, self._indices, threads=self._threads, ahead=self._capacity
        )


class AsyncRawGenerator:
    """Reads samples in other processes: for object stores, whose clients keep one core busy.

    The processes are new Pythons that import what the source needs and not the script, so that a
    script needs no `if __name__ == "__main__"` for them, and a framework's threads do no harm.

    Args:
        source: what is read; it is sent to the processes by pickle.
        indices: the numbers of the samples, in order.
        num_readers: processes.
        capacity: samples that are read ahead, at most.
        threads: readers in each process.

    Raises:
        DataError: the source cannot be sent.
    """

    def __init__(
        self,
        source: Source,
        indices: Iterable[int],
        *,
        num_readers: int = 8,
        capacity: int = 256,
        threads: int = 4,
    ) -> None:
        self._source = source
        self._indices = indices
        self._processes = num_readers
        self._capacity = capacity
        self._threads = threads

    def __iter__(self) -> Iterator[Sample | SampleError]:
        """The samples in order; an error in the place of one that cannot be read.

        Raises:
            DataError: a process died.
        """
        together = max(1, min(_TOGETHER, self._capacity // (2 * self._processes)))
        # No more requests than fit into a pipe that nobody reads from.
        ahead = max(1, min(self._capacity // together, 64 * self._processes))
        start = pickled_start(self._source, self._threads)
        workers = [Worker(start) for _ in range(self._processes)]
        source = iter(self._indices)
        order: deque[Worker] = deque()
        try:
            for number in range(ahead):
                if not (some := list(islice(source, together))):
                    break
                workers[number % len(workers)].ask(some)
                order.append(workers[number % len(workers)])
            while order:
                worker = order.popleft()
                results = worker.answer()
                if some := list(islice(source, together)):
                    worker.ask(some)
                    order.append(worker)
                yield from results
        finally:
            for worker in workers:
                worker.end()
