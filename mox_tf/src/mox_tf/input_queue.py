"""A queue between the input and the towers, filled by threads that read ahead."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from mox_core.errors import SpecError
from mox_tf.failures import DATA_ENDED, input_error
from mox_tf.tf1 import tf
from mox_tf.threads import join_for_a_while

__all__ = ["InputQueue", "QueueFeeder"]

_STEPS_AHEAD = 2
_SECONDS_TO_END = 2.0


class InputQueue:
    """Shares the batches of one input out to the towers, in order.

    Args:
        tensors: one element of the input, flat.
        where: names the input in messages.
        towers: how many batches a step takes.
        batch_size: the elements are samples, to be batched; None: they are batches.
        whole: a step takes a full batch for every tower, or nothing.
        threads: how many fill it; with more than one, elements come in any order.

    Attributes:
        shares: for each tower the flat tensors of its batch.
        reads: for each tower the operation that takes it from the queue.
        elements_per_tower: how many elements a batch takes.

    Raises:
        SpecError: samples that cannot be batched, because their shapes are not known.
    """

    def __init__(
        self,
        tensors: list[Any],
        where: str,
        *,
        towers: int,
        batch_size: int | None,
        whole: bool,
        threads: int,
    ) -> None:
        self.where = where
        self.elements_per_tower = batch_size or 1
        if batch_size is not None:
            _check_sample_shapes(tensors, where)
        self.threads = threads
        self.capacity = _STEPS_AHEAD * max(towers * self.elements_per_tower, threads)
        self._queue = tf.FIFOQueue(
            self.capacity,
            dtypes=[tensor.dtype for tensor in tensors],
            shapes=None if batch_size is None else [tensor.shape for tensor in tensors],
        )
        self.enqueue = self._queue.enqueue(tensors)
        self.drop_one = self._queue.dequeue()
        self.close = self._queue.close()
        self.shares: list[list[Any]] = []
        self.reads: list[Any] = []
        for _ in range(towers):
            with tf.control_dependencies(self.reads[-1:]):
                if batch_size is None:
                    batch = self._queue.dequeue()
                elif whole:
                    batch = self._queue.dequeue_many(batch_size)
                else:
                    batch = self._queue.dequeue_up_to(batch_size)
            batch = batch if isinstance(batch, (list, tuple)) else [batch]
            if batch_size is None:
                for got, put in zip(batch, tensors, strict=True):
                    got.set_shape(put.shape)
            self.shares.append(list(batch))
            self.reads.append(batch[0].op)
        if whole and towers > 1:
            # Nothing of a step may run before it is sure that there are data for all of it.
            with tf.control_dependencies(self.reads[-1:]):
                self.shares = [[tf.identity(tensor) for tensor in share] for share in self.shares]


class QueueFeeder:
    """The threads that fill a queue.

    Args:
        queue: what to fill.
        session: in which.
        mode: of the input, for messages.
        raise_own_error: raises what Python code that reads the input has raised, if it has.
    """

    def __init__(
        self,
        queue: InputQueue,
        session: Any,
        mode: str,
        *,
        raise_own_error: Callable[[], None],
    ) -> None:
        self._queue = queue
        self._raise_own_error = raise_own_error
        self._session = session
        self._mode = mode
        self._enqueue = session.make_callable(queue.enqueue)
        self._fed = 0
        self._taken = 0
        self._feeding = queue.threads
        self._stopping = False
        self._changed = threading.Condition()
        self.error: Exception | None = None
        self._threads = [
            threading.Thread(target=self._feed, name=f"mox-{queue.where}", daemon=True)
            for _ in range(queue.threads)
        ]
        for thread in self._threads:
            thread.start()

    def raise_error(self) -> None:
        """Raises what ended the input, unless it simply came to its end.

        Raises:
            EngineError: with the user's message.
        """
        if self.error is not None:
            self._raise_own_error()
            raise input_error(self._mode, self.error) from self.error

    def towers_with_data(self, towers: int, *, wait: bool) -> int:
        """How many of the towers get a batch in the next step, full or not.

        Args:
            towers: how many want one.
            wait: until that is sure; else only an end that is known already counts, which is
                faster: the step itself waits for its data.
        """
        wanted = towers * self._queue.elements_per_tower
        if not wait and self._feeding:
            self._taken += wanted
            return towers
        with self._changed:
            self._changed.wait_for(lambda: not self._feeding or self._fed - self._taken >= wanted)
            here = min(self._fed - self._taken, wanted)
            self._taken += here
        return -(-here // self._queue.elements_per_tower)

    def stop(self) -> None:
        """Ends the threads; one that waits in the user's code is left to end with the process."""
        self._stopping = True
        with self._changed:
            here = self._fed - self._taken
            some_wait = self._feeding and here > self._queue.capacity - len(self._threads)
        if some_wait:  # for room, perhaps all of them
            for _ in self._threads:
                self._session.run(self._queue.drop_one)
        deadline = time.monotonic() + _SECONDS_TO_END
        for thread in self._threads:
            join_for_a_while(thread, max(0.0, deadline - time.monotonic()))

    def _feed(self) -> None:
        try:
            while not self._stopping and self.error is None:
                self._enqueue()
                with self._changed:
                    self._fed += 1
                    self._changed.notify()
        except DATA_ENDED:
            pass
        except Exception as error:
            if not self._stopping and self.error is None:
                self.error = error
        finally:
            self._leave()

    def _leave(self) -> None:
        """Tells that a thread ended; the last one closes the queue."""
        with self._changed:
            self._feeding -= 1
            last = not self._feeding
            self._changed.notify()
        if last and not self._stopping:
            self._session.run(self._queue.close)


def _check_sample_shapes(tensors: list[Any], where: str) -> None:
    for index, tensor in enumerate(tensors):
        if not tensor.shape.is_fully_defined():
            raise SpecError(
                f"auto_batch cannot batch tensor {index} of {where}: its shape {tensor.shape} is "
                "not fully known.\n  Call set_shape on it, or batch in input_fn and pass "
                "auto_batch=False."
            )
