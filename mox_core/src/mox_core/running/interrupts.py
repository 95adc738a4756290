"""Ctrl-C and SIGTERM: end the run in order, at once on the second Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import weakref
from types import FrameType
from typing import Any

__all__ = ["InterruptGuard"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptGuard:
    """Catches SIGINT and SIGTERM while a run is on.

    A thread listens on the signal wake-up descriptor, because Python's own handlers wait for the
    main thread to come back from native code, and that may be blocked in a step.

    Signals can only be caught in the main thread; elsewhere the guard does nothing.

    Attributes:
        received: the first signal that came, or None.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._active = False
        self._handlers: dict[signal.Signals, Any] = {}

    def requested(self) -> bool:
        """True once a signal came."""
        return self.received is not None

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C, 143 after SIGTERM, as shells count."""
        return 128 + self.received if self.received is not None else 0

    def __enter__(self) -> InterruptGuard:
        if threading.current_thread() is not threading.main_thread():
            return self
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        for one in _SIGNALS:
            self._handlers[one] = signal.signal(one, _nothing)
        self._old_descriptor = signal.set_wakeup_fd(
            self._writer.fileno(), warn_on_full_buffer=False
        )
        _reset_in_children(weakref.ref(self))
        self._thread = threading.Thread(target=self._listen, name="mox-interrupts", daemon=True)
        self._thread.start()
        self._active = True
        return self

    def __exit__(self, *exception: object) -> None:
        if not self._active:
            return
        self._restore()
        self._writer.close()  # ends the thread
        self._thread.join()
        self._reader.close()

    def _restore(self) -> None:
        self._active = False
        signal.set_wakeup_fd(self._old_descriptor)
        for one, handler in self._handlers.items():
            signal.signal(one, handler)

    def _listen(self) -> None:
        while data := self._reader.recv(64):
            for number in data:
                if number in _SIGNALS:
                    self._on_signal(signal.Signals(number))

    def _on_signal(self, received: signal.Signals) -> None:
        if self.received is None:
            self.received = received
            _say(
                "Interrupted: finishing this step, then saving. Press Ctrl-C again to stop at once."
                if received == signal.SIGINT
                else "Terminated: finishing this step, then saving."
            )
        elif received == signal.SIGINT:
            _say("Stopped at once; the last complete checkpoint is intact.")
            os._exit(128 + received)


def _reset_in_children(guard: weakref.ref[InterruptGuard]) -> None:
    """Gives forked children their old handlers back.

    Ctrl-C reaches the whole process group: a data-loading child that kept the descriptor would
    make one Ctrl-C look like two.
    """

    def reset() -> None:
        alive = guard()
        if alive is not None and alive._active:
            alive._restore()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=reset)


def _nothing(number: int, frame: FrameType | None) -> None:
    """Keeps the signal from killing the process; the listening thread acts on it."""


def _say(text: str) -> None:
    # Not through logging: its locks may be held by the thread that the signal interrupted.
    sys.stderr.write(f"\n{text}\n")
    sys.stderr.flush()
