"""A worker's thread that looks after the others while the main thread is in a step."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from mox_core.errors import EngineError
from mox_tf.cluster.board import STOP, BoardOps, failed_by, failure_of
from mox_tf.cluster.hosts import Absences
from mox_tf.cluster.leader import Leader
from mox_tf.cluster.losses import is_loss
from mox_tf.cluster.rounds import AGAIN, FAILED, LEAVE, LOST, SyncExchange
from mox_tf.cluster.rounds import STOP as STOP_TOKEN
from mox_tf.cluster.spec import ClusterSpec
from mox_tf.tf1 import tf

__all__ = ["Monitor"]

_LOOK_EVERY = 1.0
_SECONDS_AFTER_INTERRUPT = 5.0
_REPEAT_AFTER = 5.0


class Monitor:
    """Reads the board every second; in synchronous training also looks who is missing.

    Args:
        spec: the cluster.
        board: the operations.
        session: to read it.
        exchange: of synchronous training; None in asynchronous.
        leader: the chief's, in synchronous training.
        stamp: the stamp of this worker's round, in synchronous training.
        interrupted: true once a signal came.
        logger: is told who is missing.

    Attributes:
        told_to_stop: the chief wants all to stop.
        failure: why the job cannot go on; None while it can.
    """

    def __init__(
        self,
        spec: ClusterSpec,
        board: BoardOps,
        session: Any,
        *,
        exchange: SyncExchange | None,
        leader: Leader | None,
        stamp: Callable[[], int],
        interrupted: Callable[[], bool],
        logger: logging.Logger,
    ) -> None:
        self._spec = spec
        self._board = board
        self._session = session
        self._exchange = exchange
        self._leader = leader
        self._stamp = stamp
        self._last_stamp = -1
        self._moved = time.monotonic()
        self._interrupted = interrupted
        workers = {f"worker {index}": at for index, at in enumerate(spec.workers)}
        self._absences = Absences(workers, spec.timeout, logger)
        self._wake_at: float | None = None
        self._loss_told = False
        self._left: set[int] = set()
        self.told_to_stop = False
        self.failure: str | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mox-monitor", daemon=True)
        self._thread.start()

    def raise_failure(self) -> None:
        """Raises what the others said, if anything.

        Raises:
            EngineError: the job cannot go on.
        """
        if self.failure is not None:
            raise EngineError(self.failure)

    def stop(self) -> None:
        """Ends the thread; one that hangs in a request is left behind."""
        self._ended.set()
        self._thread.join(2 * _LOOK_EVERY)

    def _run(self) -> None:
        while not self._ended.wait(_LOOK_EVERY):
            try:
                self._look()
            except (tf.errors.OpError, RuntimeError) as error:
                if is_loss(error):
                    self._tell_of_loss()

    def _tell_of_loss(self) -> None:
        """Wakes those that wait for a token from a server that is still there."""
        if self._exchange is None or self._loss_told:
            return
        self._loss_told = True
        with contextlib.suppress(tf.errors.OpError, RuntimeError):  # then they get that error
            self._exchange.wake(self._session, LOST, everybody=self._leader is not None)

    def _look(self) -> None:
        board = self._board.read(self._session)
        word = board.word
        self.told_to_stop = word == STOP and not self._spec.is_chief
        failed = failed_by(word)
        if failed is not None and failed != self._spec.index:
            self._fail(f"worker {failed} failed; its own output says why.")
        if self._exchange is None:
            return
        self._repeat(self._exchange)
        missed = [0] if self._spec.index else []
        if self._leader is not None:
            waiting_for = self._leader.waiting_for
            missed = [i for i in waiting_for if i != self._spec.index and not board.done[i]]
            for index in set(waiting_for).difference(missed, [self._spec.index], self._left):
                # It may have been killed before it could say so.
                self._left.add(index)
                self._exchange.say(self._session, LEAVE, worker=index)
        gone = self._absences.too_long([f"worker {index}" for index in missed])
        if gone:
            if self._leader is not None:
                self._board.write_word(self._session, failure_of(missed[0]))
            self._fail(
                f"{', '.join(gone)} could not be reached for {self._spec.timeout:.0f} seconds, "
                "and synchronous training needs all workers.\n"
                "  Start it again sooner, or raise --session_timeout; the last checkpoint is in "
                "log_dir."
            )
        elif self._interrupted():
            # The others may have stopped first; then nobody sends the token of this step.
            self._wake_at = self._wake_at or time.monotonic() + _SECONDS_AFTER_INTERRUPT
            if time.monotonic() >= self._wake_at:
                self._exchange.wake(self._session, STOP_TOKEN)

    def _repeat(self, exchange: SyncExchange) -> None:
        """Says again what may have been lost together with a process or a session."""
        now = time.monotonic()
        if self._leader is not None and is_loss(self._leader.error):
            self._tell_of_loss()
        if self._stamp() != self._last_stamp:
            self._last_stamp, self._moved = self._stamp(), now
        elif self._leader is None and now - self._moved >= _REPEAT_AFTER:
            self._moved = now
            exchange.say(self._session, AGAIN)

    def _fail(self, why: str) -> None:
        if self.failure is None:
            self.failure = why
        if self._exchange is not None:
            self._exchange.wake(self._session, FAILED)
