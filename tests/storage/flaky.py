"""A driver of the tests' own, over the memory driver, that fails, cuts and stalls on command."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

from mox_core.storage.auth import Settings
from mox_core.storage.driver import Body, ObjectInfo, Sink
from mox_core.storage.errors import TransientError
from mox_core.storage.memory import MemoryDriver, MemoryStore
from mox_core.storage.registry import DRIVERS

SETTINGS = Settings(retry_wait=0.001)


class Cut:
    """Passes on the first bytes of an answer and then loses the connection."""

    def __init__(self, sink: Sink, room: int) -> None:
        self.sink = sink
        self.room = room

    def begin(self, info: ObjectInfo) -> None:
        self.sink.begin(info)

    def write(self, chunk: memoryview) -> None:
        self.sink.write(chunk[: self.room])
        self.room -= min(self.room, len(chunk))
        if not self.room:
            raise TransientError("the connection was cut")


class FlakyDriver(MemoryDriver):
    """`before[method]` runs before each call of a method and may raise; `cut` shortens answers."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        super().__init__("flaky", settings, store=MemoryStore())
        self.before: dict[str, Callable[..., None]] = {}
        self.cut = 0
        self.flip = False
        self.calls: Counter[str] = Counter()
        self.interrupted = threading.Event()

    def _call(self, name: str, *args: Any) -> None:
        self.calls[name] += 1
        if name in self.before:
            self.before[name](*args)

    def stat(self, path: str) -> ObjectInfo:
        self._call("stat", path)
        return super().stat(path)

    def fetch(self, path: str, sink: Sink, **kwargs: Any) -> ObjectInfo:  # type: ignore[override]
        self._call("fetch", path)
        if self.cut:
            sink = Cut(sink, self.cut)
        if self.flip:
            data, info = self._get(path)
            sink.begin(info)
            sink.write(memoryview(bytes([data[0] ^ 1]) + data[1:]))
            return info
        return super().fetch(path, sink, **kwargs)

    def put(self, path: str, body: Body, **kwargs: Any) -> ObjectInfo:
        self._call("put", path)
        return super().put(path, body, **kwargs)

    def upload_part(self, path: str, upload: str, number: int, body: Body) -> str:
        self._call("upload_part", path, number)
        return super().upload_part(path, upload, number, body)

    def complete_upload(self, path: str, upload: str, parts: Any) -> ObjectInfo:
        self._call("complete_upload", path)
        return super().complete_upload(path, upload, parts)

    def interrupt(self) -> None:
        self.interrupted.set()


def failing(times: int, error: Exception | None = None) -> Callable[..., None]:
    """Raises the first so many times."""
    left = [times]

    def before(*_: Any) -> None:
        if left[0]:
            left[0] -= 1
            raise error or TransientError("503 SlowDown")

    return before


@contextmanager
def serving(driver: FlakyDriver) -> Any:
    with DRIVERS.serving("flaky", driver):
        yield driver
