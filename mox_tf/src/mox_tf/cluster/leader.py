"""The chief's part in rounds of synchronous training that its step could not end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from mox_tf.cluster.losses import is_loss
from mox_tf.cluster.rounds import (
    AGAIN,
    FAILED,
    GO,
    JOIN,
    LEAVE,
    LOST,
    STOP,
    VOTE,
    WAKE,
    SyncExchange,
)
from mox_tf.tf1 import tf

__all__ = ["Leader"]

_CHIEF = 0


class Leader:
    """Counts votes; when all workers that take part have voted, ends the round.

    The chief's own step does so as long as nobody comes or goes. It calls this one when somebody
    does; and when the chief has left, a thread of this one ends the rounds of the others.

    Args:
        exchange: the graph's.
        session: in which.

    Attributes:
        error: what ended the thread before its time.
    """

    def __init__(self, exchange: SyncExchange, session: Any) -> None:
        self._exchange = exchange
        self._session = session
        self._workers = len(exchange.tokens)
        self._active: set[int] = set()
        self._voted: set[int] = set()
        # Grows by one in every round, and from one chief to the next by the time between them.
        self._stamp = int(time.time() * 1000) << 20
        self._kind = GO
        self._woken: int | None = None
        self._abandoned = False
        self.error: Exception | None = None
        self._thread: threading.Thread | None = None

    @property
    def waiting_for(self) -> list[int]:
        """The workers that have to vote for the round to end."""
        return sorted(self._active - self._voted)

    def begin(self, active: Iterable[int]) -> int:
        """Lets these workers begin a first round; returns its stamp."""
        self._active = set(active)
        self._exchange.begin(self._session, self._stamp, self._mask(self._active))
        return self._stamp

    def end_round(self, stamp: int, messages: list[int]) -> tuple[int, int]:
        """Ends the round that a step of the chief could not end.

        Args:
            stamp: of the round.
            messages: that it got, one after the other.

        Returns:
            The chief's token: stamp and kind.
        """
        self._stamp, self._voted, self._woken = stamp, set(), None
        self._take_all(messages[i : i + 3] for i in range(0, len(messages), 3))
        while self._woken is None and self.waiting_for:
            self._take_all(self._exchange.receive(self._session, len(self.waiting_for)))
        if self._woken is not None:
            return 0, self._woken
        self._end(messages=0)
        return self._stamp, GO

    def take_over(self, stamp: int) -> None:
        """Ends the rounds of the others from now on: the chief has done its last step.

        Args:
            stamp: of the round that goes on.
        """
        if self._thread is not None:
            return
        if stamp != self._stamp:
            self._stamp, self._voted = stamp, set()
        self._active.discard(_CHIEF)
        self._voted.discard(_CHIEF)
        self._thread = threading.Thread(target=self._run, name="mox-leader", daemon=True)
        self._thread.start()

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
        messages: Any = []
        while self._active:
            self._take_all(messages)
            waiting = self.waiting_for
            if waiting:
                messages = self._exchange.receive(self._session, len(waiting))
            elif self._active:
                messages = self._end(messages=len(self._active))

    @cached_property
    def _end_round(self) -> Any:
        return self._exchange.round_ender(self._session)

    def _end(self, messages: int) -> Any:
        gradients, self._voted = len(self._voted), set()
        self._stamp += 1
        return self._end_round(
            gradients, self._stamp, self._kind, self._mask(self._active), messages
        )

    def _take_all(self, messages: Iterable[Any]) -> None:
        for message in messages:
            self._take(*map(int, message))

    def _take(self, worker: int, stamp: int, kind: int) -> None:
        late = False
        if kind == JOIN:
            # One that comes back after it has voted counts as having voted.
            self._active.add(worker)
            late = True
        elif kind == LEAVE:
            self._active.discard(worker)
            self._voted.discard(worker)
        elif kind == VOTE:
            self._active.add(worker)
            # If it is of another round: it has not got its token, or one of an earlier chief.
            late = stamp != self._stamp
            if not late:
                self._voted.add(worker)
        elif kind == AGAIN and worker in self._active - self._voted:
            # Either its token was lost, on the way to an earlier session of it, or a vote was.
            late = self._exchange.gradients(self._session) < len(self._active)
            if not late:
                self._voted |= self._active
        elif kind == WAKE:
            self._woken = stamp
        if late:
            self._exchange.send(self._session, self._stamp, self._mask({worker}))

    def _mask(self, workers: set[int]) -> list[int]:
        return [int(index in workers) for index in range(self._workers)]
