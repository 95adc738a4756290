"""The data plane first, the vendor's SDK for whatever the data plane does not understand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from mox_core._lazy import lazy_logger
from mox_core.storage.driver import Body, Driver, ObjectInfo, Recipe, Sink

from .driver import HttpDriver
from .refusals import UnexpectedAnswerError

__all__ = ["FallbackDriver"]

_log = lazy_logger(__name__)
_T = TypeVar("_T")


class FallbackDriver(Driver):
    """Every call goes to `fast`; one whose answer is not understood is made again by the SDK.

    Args:
        fast: Driver over the data plane.
        make_sdk: Makes the driver over the vendor's SDK; called when it is first needed.
    """

    def __init__(self, fast: HttpDriver, make_sdk: Callable[[], Driver]) -> None:
        super().__init__(fast.scheme, fast.settings)
        self.capabilities = fast.capabilities
        self._fast = fast
        self._make_sdk = make_sdk
        self._made: Driver | None = None
        self._lock = threading.Lock()

    def _sdk(self, error: UnexpectedAnswerError) -> Driver:
        _log.debug("asking the SDK: %s", error)
        with self._lock:
            if self._made is None:
                self._made = self._make_sdk()
            return self._made

    def _first(self, call: Callable[[Driver], _T]) -> _T:
        try:
            return call(self._fast)
        except UnexpectedAnswerError as error:
            return call(self._sdk(error))

    def recipe(self) -> Recipe | None:
        """See `Driver.recipe`."""
        return self._fast.recipe()

    def stat(self, path: str) -> ObjectInfo:
        """See `Driver.stat`."""
        return self._first(lambda driver: driver.stat(path))

    def list(
        self, prefix: str, *, recursive: bool, limit: int = 0
    ) -> Iterator[Sequence[ObjectInfo]]:
        """See `Driver.list`."""
        pages = self._fast.list(prefix, recursive=recursive, limit=limit)
        try:
            first = next(pages, None)
        except UnexpectedAnswerError as error:
            yield from self._sdk(error).list(prefix, recursive=recursive, limit=limit)
            return
        if first is not None:
            yield first
            yield from pages

    def fetch(
        self,
        path: str,
        sink: Sink,
        *,
        start: int = 0,
        length: int | None = None,
        etag: str = "",
    ) -> ObjectInfo:
        """See `Driver.fetch`."""
        # An answer that is not understood has given nothing to the sink.
        return self._first(
            lambda driver: driver.fetch(path, sink, start=start, length=length, etag=etag)
        )

    def put(
        self, path: str, body: Body, *, if_match: str = "", if_absent: bool = False
    ) -> ObjectInfo:
        """See `Driver.put`."""
        return self._first(
            lambda driver: driver.put(path, body, if_match=if_match, if_absent=if_absent)
        )

    def delete_many(self, paths: Sequence[str]) -> Iterable[tuple[str, Exception]]:
        """See `Driver.delete_many`."""
        return self._first(lambda driver: driver.delete_many(paths))

    def copy(self, source: str, target: str, *, etag: str = "") -> ObjectInfo:
        """See `Driver.copy`."""
        return self._first(lambda driver: driver.copy(source, target, etag=etag))

    def begin_upload(self, path: str) -> str:
        """See `Driver.begin_upload`."""
        return self._first(lambda driver: driver.begin_upload(path))

    def upload_part(self, path: str, upload: str, number: int, body: Body) -> str:
        """See `Driver.upload_part`."""
        return self._first(lambda driver: driver.upload_part(path, upload, number, body))

    def copy_part(
        self,
        path: str,
        upload: str,
        number: int,
        source: str,
        *,
        start: int,
        length: int,
        etag: str = "",
    ) -> str:
        """See `Driver.copy_part`."""
        return self._first(
            lambda driver: driver.copy_part(
                path, upload, number, source, start=start, length=length, etag=etag
            )
        )

    def complete_upload(self, path: str, upload: str, parts: Sequence[str]) -> ObjectInfo:
        """See `Driver.complete_upload`."""
        return self._first(lambda driver: driver.complete_upload(path, upload, parts))

    def abort_upload(self, path: str, upload: str) -> None:
        """See `Driver.abort_upload`."""
        self._first(lambda driver: driver.abort_upload(path, upload))

    def append(self, path: str, body: Body, *, position: int) -> int:
        """See `Driver.append`."""
        return self._first(lambda driver: driver.append(path, body, position=position))

    def interrupt(self) -> None:
        """See `Driver.interrupt`."""
        self._fast.interrupt()
        if self._made is not None:
            self._made.interrupt()

    def close(self) -> None:
        """See `Driver.close`."""
        self._fast.close()
        if self._made is not None:
            self._made.close()
