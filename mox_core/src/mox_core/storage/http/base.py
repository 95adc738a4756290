"""What the drivers of object stores do alike, over the data plane or over a vendor's SDK."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from mox_core.storage.driver import Body, Driver, ObjectInfo, Sink
from mox_core.storage.errors import ChangedError, MoxFileRespException, TransientError

from .connection import ProtocolError
from .headers import object_info
from .refusals import UnexpectedAnswerError

__all__ = ["ObjectStoreDriver"]


class ObjectStoreDriver(Driver):
    """Leaves to its subclasses only what needs a request of its own."""

    @abstractmethod
    def get_object(
        self, path: str, sink: Sink, *, start: int, length: int | None, etag: str
    ) -> ObjectInfo:
        """`fetch` of at least one byte, with `begin`; 416 is a MoxFileRespException."""

    @abstractmethod
    def put_object(self, path: str, body: Body, *, if_match: str, if_absent: bool) -> ObjectInfo:
        """`put` of an object; `if_match` is the whole header, with its quotes."""

    @abstractmethod
    def copy_object(self, source: str, target: str, *, etag: str) -> ObjectInfo:
        """`copy` to another path."""

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
                return self.get_object(path, sink, start=start, length=length, etag=etag)
            except MoxFileRespException as error:
                if error.resp is None or error.resp.status != 416:
                    raise
        info = self.stat(path)  # the range holds nothing
        self.begin(sink, info, etag)
        if length != 0 and start < info.size:
            raise TransientError(f"{self.url(path)}: the server refuses a range that exists")
        return info

    def begin(self, sink: Sink, info: ObjectInfo, etag: str) -> None:
        """Tell the sink what comes, which has to be the version that was asked for."""
        if etag and info.etag and info.etag != etag:
            raise ChangedError(f"{self.url(info.path)} was replaced by another version")
        sink.begin(info)

    def put(
        self, path: str, body: Body, *, if_match: str = "", if_absent: bool = False
    ) -> ObjectInfo:
        """See `Driver.put`."""
        if not path.partition("/")[2]:
            return self.stat(path)  # a bucket is there or not; mox makes none
        if not if_match:
            return self.put_object(path, body, if_match="", if_absent=if_absent)
        try:
            return self.put_object(path, body, if_match=f'"{if_match}"', if_absent=if_absent)
        except ChangedError:
            # Ceph compares what it is sent with an ETag without quotes.
            return self.put_object(path, body, if_match=if_match, if_absent=if_absent)

    def copy(self, source: str, target: str, *, etag: str = "") -> ObjectInfo:
        """See `Driver.copy`."""
        if source == target:
            return self.stat(source)
        return self.copy_object(source, target, etag=etag)

    def info(self, path: str, headers: Mapping[str, str], prefix: str) -> ObjectInfo:
        """What an answer says about an object; see `headers.object_info`."""
        try:
            return object_info(path, headers, prefix)
        except ProtocolError as error:
            raise UnexpectedAnswerError(f"{self.url(path)}: {error}") from error
