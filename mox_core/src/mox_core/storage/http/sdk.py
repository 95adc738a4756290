"""What drivers over a vendor's SDK have in common."""

from __future__ import annotations

import io
from abc import abstractmethod
from collections.abc import Iterable, Sequence

from mox_core.storage.driver import Body, Driver, FileSlice, ObjectInfo, Sink
from mox_core.storage.errors import AccessDeniedError, MoxFileRespException, Resp

from .refusals import refusal

__all__ = ["SdkDriver", "body_stream"]


class SdkDriver(Driver):
    """Deletes one by one, and answers for ranges that hold nothing."""

    @abstractmethod
    def delete_one(self, path: str) -> None:
        """Deletes one object; one that is gone is fine."""

    @abstractmethod
    def fetch_some(
        self, path: str, sink: Sink, *, start: int, length: int | None, etag: str
    ) -> ObjectInfo:
        """`fetch` of at least one byte; a 416 raises MoxFileRespException."""

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
        if length != 0:
            try:
                return self.fetch_some(path, sink, start=start, length=length, etag=etag)
            except MoxFileRespException as error:
                if error.resp is None or error.resp.status != 416:
                    raise
                info = self.stat(path)
                if start < info.size:
                    raise
        else:
            info = self.stat(path)
        sink.begin(info)
        return info

    def delete_many(self, paths: Sequence[str]) -> Iterable[tuple[str, Exception]]:
        """See `Driver.delete_many`."""
        failures: list[tuple[str, Exception]] = []
        for path in paths:
            if not path.partition("/")[2]:
                continue
            try:
                self.delete_one(path)
            except AccessDeniedError as error:
                failures.append((path, error))
        return failures

    def refused(self, path: str, resp: Resp, *, retry_after: str) -> Exception:
        """The exception for a refusal.

        Args:
            path: what the request was about.
            resp: the server's answer.
            retry_after: the header of that name, or empty.
        """
        seconds = float(retry_after) if retry_after.isdecimal() else 0.0
        return refusal(self.url(path), resp, retry_after=seconds)


def body_stream(body: Body) -> io.BufferedIOBase:
    """A new stream over a body; given bytes, the OBS SDK formats all of them for a log line."""
    return body.open() if isinstance(body, FileSlice) else io.BytesIO(body)
