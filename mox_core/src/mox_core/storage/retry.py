"""Trying again what may succeed: jittered, bounded in number and in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from mox_core.storage.errors import TransientError

if TYPE_CHECKING:
    from mox_core.storage.auth import Settings

__all__ = ["Retry", "Stopped"]

T = TypeVar("T")

SECONDS_PER_BYTE = 1 / (1 << 20)
"""A request that sends n bytes may take this much longer: a slow line is not a dead one."""


class Stopped(BaseException):
    """The user stopped the copy; ends a worker, and never leaves the copy."""


class Retry(NamedTuple):
    """How often, how long, and whether still.

    Attributes:
        attempts: most attempts of one request.
        wait: mean seconds before the second attempt; doubles from there.
        seconds: no attempt begins later than this after the first one began.
        stop: set when the caller has given up; then nothing is retried.
    """

    attempts: int = 5
    wait: float = 0.2
    seconds: float = 28.0
    stop: threading.Event | None = None

    @classmethod
    def of(cls, settings: Settings) -> Retry:
        """What set_auth's `retry` and `retry_wait` ask for."""
        retry = cls()
        if settings.retry is not None:
            retry = retry._replace(attempts=settings.retry)
        if settings.retry_wait is not None:
            longest = settings.retry_wait * 2**retry.attempts
            seconds = max(retry.seconds, longest)
            retry = retry._replace(wait=settings.retry_wait, seconds=seconds)
        return retry

    def call(self, function: Callable[..., T], *args: Any, size: int = 0, **kwargs: Any) -> T:
        """Calls until it succeeds.

        Args:
            function: makes one attempt.
            *args: its arguments.
            size: bytes that an attempt sends.
            **kwargs: its arguments.

        Raises:
            TransientError: the last one, when attempts or time ran out; it says how many.
        """
        attempt = 0
        began = time.monotonic()
        while True:
            try:
                return function(*args, **kwargs)
            except TransientError as error:
                attempt += 1
                self.pause(error, attempt=attempt, began=began, size=size)

    def pause(self, error: TransientError, *, attempt: int, began: float, size: int = 0) -> None:
        """Waits before attempt number `attempt` + 1, or raises `error` when it is not to be."""
        if self.stop is not None and self.stop.is_set():
            raise Stopped from None
        import random  # here, because it is slow to import and seldom needed

        delay = self.wait * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)
        delay = max(delay, error.retry_after)
        now = time.monotonic()
        budget = self.seconds + size * SECONDS_PER_BYTE
        # An attempt that takes as long as the last ones did must still end within the budget.
        typical = (now - began) / attempt
        if attempt >= self.attempts or now - began + delay + min(typical, 10.0) > budget:
            took = now - began
            tries = f"{attempt} attempt{'s' * (attempt > 1)} in {took:.1f} s"
            error.message = f"{error.message} (gave up after {tries})"
            raise error
        if self.stop is None:
            time.sleep(delay)
        elif self.stop.wait(delay):
            raise Stopped from None

    def until(self, stop: threading.Event) -> Retry:
        """The same, but ends as soon as `stop` is set."""
        return self._replace(stop=stop)
