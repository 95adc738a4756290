"""The chief's thread that ends the rounds of synchronous training."""

from __future__ import annotations

import threading
import time
from typing import Any

from mox_tf.cluster.exchange import FAILED, GO, JOIN, LEAVE, LOST, STOP, VOTE, SyncExchange
from mox_tf.cluster.losses import is_loss
from mox_tf.tf1 import tf

__all__ = ["Leader"]


class Leader:
    """Counts votes; when all workers that take part have voted, ends the round.

    Args:
        exchange: the graph's.
        session: in which.
        done: for each worker, whether it has done its last step already.

    Attributes:
        error: what ended the thread before its time.
    """

    def __init__(self, exchange: SyncExchange, session: Any, done: tuple[bool, ...]) -> None:
        self._exchange = exchange
        self._session = session
        self._workers = len(done)
        self._active = {index for index, is_done in enumerate(done) if not is_done}
        self._voted: set[int] = set()
        # Grows by one in every round, and from one chief to the next by the time between them.
        self._stamp = int(time.time() * 1000) << 20
        self._kind = GO
        self._abandoned = False
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="mox-leader", daemon=True)
        self._thread.start()

    @property
    def waiting_for(self) -> list[int]:
        """The workers that have to vote for the round to end."""
        return sorted(self._active - self._voted)

    @property
    def leads(self) -> bool:
        """False when no worker takes part any more."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Tells all workers, from the next round on, to stop after it."""
        self._kind = STOP

    def abandon(self) -> None:
        """Says that the session is about to be closed, so that its end is no news."""
        self._abandoned = True

    def _run(self) -> None:
        try:
            self._lead()
        except Exception as error:
            self.error = error
            if self._abandoned:
                return
            kind = LOST if is_loss(error) else FAILED
            try:
                self._exchange.wake(self._session, kind, everybody=True)
            except tf.errors.OpError:
                pass  # those who wait for a token there get the same error
            except RuntimeError:
                pass  # the session is closed

    def _lead(self) -> None:
        exchange, session = self._exchange, self._session
        end_round = exchange.round_ender(session)
        exchange.begin(session, self._stamp, self._mask(self._active))
        messages = exchange.receive(session, len(self._active)) if self._active else []
        while self._active:
            for message in messages:
                self._take(*map(int, message))
            waiting = self._active - self._voted
            if waiting:
                messages = exchange.receive(session, len(waiting))
            elif self._active:
                gradients, self._voted = len(self._voted), set()
                self._stamp += 1
                messages = end_round(
                    gradients,
                    self._stamp,
                    self._kind,
                    self._mask(self._active),
                    len(self._active),
                )

    def _take(self, worker: int, stamp: int, kind: int) -> None:
        if kind == JOIN:
            # One that comes back after it has voted counts as having voted.
            self._active.add(worker)
            self._exchange.send(self._session, self._stamp, self._mask({worker}))
        elif kind == LEAVE:
            self._active.discard(worker)
            self._voted.discard(worker)
        elif kind == VOTE and stamp == self._stamp and worker in self._active:
            self._voted.add(worker)
        elif kind == VOTE and stamp < self._stamp:
            # It has not got its token, or one that an earlier chief had sent.
            self._exchange.send(self._session, self._stamp, self._mask({worker}))

    def _mask(self, workers: set[int]) -> list[int]:
        return [int(index in workers) for index in range(self._workers)]
