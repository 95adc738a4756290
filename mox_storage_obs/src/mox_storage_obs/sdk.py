"""The same contract over the OBS SDK: the reference, the fallback, what the off switch leaves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from obs import (
    AppendObjectContent,
    CompleteMultipartUploadRequest,
    CompletePart,
    CopyObjectHeader,
    GetObjectHeader,
    LogConf,
    ObsClient,
    PutObjectHeader,
)

from mox_core.storage.auth import Settings
from mox_core.storage.driver import Body, ObjectInfo, Sink
from mox_core.storage.errors import (
    ChangedError,
    MoxFileNotExistsException,
    MoxFileRespException,
    Resp,
    TransientError,
)
from mox_core.storage.http.bodies import base64, body_digest, body_stream
from mox_core.storage.http.refusals import failure, refusal
from mox_core.storage.http.request import Endpoint
from mox_core.storage.http.sdk import SdkDriver, os_error
from mox_core.storage.http.signers import Credentials
from mox_storage_obs.driver import CAPABILITIES, CAPABILITIES_V2

__all__ = ["ObsSdkDriver"]

_CHUNK = 1 << 20


class ObsSdkDriver(SdkDriver):
    """OBS through esdk-obs-python alone.

    Args:
        scheme: URL scheme, for messages.
        settings: Connection settings.
        endpoint: Where the service listens.
        credentials: Who signs.
    """

    def __init__(
        self, scheme: str, settings: Settings, *, endpoint: Endpoint, credentials: Credentials
    ) -> None:
        super().__init__(scheme, settings)
        self.capabilities = CAPABILITIES_V2 if endpoint.path_style else CAPABILITIES
        self._origin = endpoint.origin
        self._obs = ObsClient(
            access_key_id=credentials.access_key,
            secret_access_key=credentials.secret_key,
            security_token=credentials.token,
            server=endpoint.origin,
            path_style=endpoint.path_style,
            timeout=endpoint.read_timeout,
            max_retry_count=0,
            chunk_size=_CHUNK,
            long_conn_mode=settings.long_conn_mode is not False,
            is_signature_negotiation=settings.negotiation is not False,
        )
        # The SDK's own context never checks host names.
        self._obs.context = endpoint.tls
        if settings.obs_client_log:
            self._obs.initLog(LogConf(), "obs_client")

    # ---- objects

    def stat(self, path: str) -> ObjectInfo:
        """See `Driver.stat`."""
        bucket, _, key = path.partition("/")
        if not key:
            self._call(path, self._obs.headBucket, bucket)
            return ObjectInfo(path)
        answer = self._call(path, self._obs.getObjectMetadata, bucket, key)
        return self._info(path, answer)

    def list(
        self, prefix: str, *, recursive: bool, limit: int = 0
    ) -> Iterator[Sequence[ObjectInfo]]:
        """See `Driver.list`."""
        bucket, _, key = prefix.partition("/")
        if not bucket:
            answer = self.retry.call(self._call, prefix, self._obs.listBuckets)
            buckets = self._body(prefix, answer).buckets
            yield [ObjectInfo(f"{found.name}/") for found in buckets]
            return
        marker, count = None, 0
        while True:
            answer = self.retry.call(
                self._call,
                prefix,
                self._obs.listObjects,
                bucket,
                prefix=key,
                marker=marker,
                max_keys=min(self.settings.list_max_keys or 1000, limit or 1000),
                delimiter=None if recursive else "/",
                encoding_type="url",
            )
            page = self._body(prefix, answer)
            entries = [
                ObjectInfo(
                    f"{bucket}/{entry.key}",
                    entry.size,
                    _local_time_ns(entry.lastModified),
                    (entry.etag or "").strip('"'),
                )
                for entry in page.contents
            ]
            entries += [ObjectInfo(f"{bucket}/{p.prefix}") for p in page.commonPrefixs]
            if entries:
                yield entries
            count += len(entries)
            if not page.is_truncated or 0 < limit <= count:
                return
            marker = page.next_marker or max(entry.path for entry in entries).partition("/")[2]

    def get_object(
        self, path: str, sink: Sink, *, start: int, length: int | None, etag: str
    ) -> ObjectInfo:
        """See `ObjectStoreDriver.get_object`."""
        bucket, _, key = path.partition("/")
        headers = GetObjectHeader()
        if start or length is not None:
            headers.range = f"{start}-{'' if length is None else start + length - 1}"
        if etag:
            headers.if_match = etag  # bare: the SDK percent-encodes quotation marks
        answer = self._call(path, self._obs.getObject, bucket, key, headers=headers)
        stream = answer.body.response
        try:
            said = dict(answer.header)
            left = int(said["content-length"])
            whole = said.get("content-range", f"bytes {start}-/{left}")
            if not whole.startswith(f"bytes {start}-") or (headers.range and answer.status != 206):
                raise MoxFileRespException(f"{self.url(path)}: the server ignores ranges")
            info = self._info(path, answer)
            self.begin(sink, info, etag)
            while chunk := self._read(path, stream):
                left -= len(chunk)
                sink.write(memoryview(chunk))
            if left:
                raise TransientError(f"{self.url(path)}: the answer ended {left} bytes early")
        except BaseException:
            stream.conn.close()  # or the SDK would use it again with the rest of this answer
            raise
        finally:
            stream.close()
        return info

    def _read(self, path: str, stream: Any) -> bytes:
        try:
            return stream.read(_CHUNK)  # type: ignore[no-any-return]
        except Exception as error:  # the SDK raises bare exceptions
            raise failure(self.url(path), self._origin, os_error(error)) from error

    def put_object(self, path: str, body: Body, *, if_match: str, if_absent: bool) -> ObjectInfo:
        """See `ObjectStoreDriver.put_object`."""
        if if_match or if_absent:
            raise self._unsupported("put conditionally", path)
        bucket, _, key = path.partition("/")
        headers = PutObjectHeader(contentLength=len(body), md5=_content_md5(body))
        answer = self._call(
            path, self._obs.putContent, bucket, key, body_stream(body), headers=headers
        )
        return ObjectInfo(path, len(body), 0, (answer.body.etag or "").strip('"'))

    def delete_one(self, path: str) -> None:
        """See `SdkDriver.delete_one`."""
        self._call(path, self._obs.deleteObject, *path.split("/", 1))

    def copy_object(self, source: str, target: str, *, etag: str) -> ObjectInfo:
        """See `ObjectStoreDriver.copy_object`."""
        headers = CopyObjectHeader(if_match=etag) if etag else None
        answer = self._call(
            source,
            self._obs.copyObject,
            *source.split("/", 1),
            *target.split("/", 1),
            headers=headers,
        )
        return ObjectInfo(target, 0, 0, self._etag(target, answer))

    # ---- uploads in parts

    def begin_upload(self, path: str) -> str:
        """See `Driver.begin_upload`."""
        answer = self._call(path, self._obs.initiateMultipartUpload, *path.split("/", 1))
        return str(self._body(path, answer).uploadId)

    def upload_part(self, path: str, upload: str, number: int, body: Body) -> str:
        """See `Driver.upload_part`."""
        answer = self._call(
            path,
            self._obs.uploadPart,
            *path.split("/", 1),
            number,
            upload,
            content=body_stream(body),
            partSize=len(body),
            md5=_content_md5(body),
        )
        return self._etag(path, answer)

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
        if etag and self.stat(source).etag != etag:  # the SDK offers no condition here
            raise ChangedError(f"{self.url(source)} was replaced by another version")
        answer = self._call(
            source,
            self._obs.copyPart,
            *path.split("/", 1),
            number,
            upload,
            source,
            f"{start}-{start + length - 1}",
        )
        return self._etag(path, answer)

    def complete_upload(self, path: str, upload: str, parts: Sequence[str]) -> ObjectInfo:
        """See `Driver.complete_upload`."""
        joined = CompleteMultipartUploadRequest(
            [CompletePart(n, f'"{etag}"') for n, etag in enumerate(parts, 1)]
        )
        answer = self._call(
            path, self._obs.completeMultipartUpload, *path.split("/", 1), upload, joined
        )
        return ObjectInfo(path, 0, 0, self._etag(path, answer))

    def abort_upload(self, path: str, upload: str) -> None:
        """See `Driver.abort_upload`."""
        with suppress(MoxFileNotExistsException):
            self._call(path, self._obs.abortMultipartUpload, *path.split("/", 1), upload)

    def append(self, path: str, body: Body, *, position: int) -> int:
        """See `Driver.append`."""
        if not self.capabilities.append:
            raise self._unsupported("append", path)
        content = AppendObjectContent(content=body_stream(body), position=position)
        headers = PutObjectHeader(contentLength=len(body))
        answer = self._call(
            path, self._obs.appendObject, *path.split("/", 1), content, headers=headers
        )
        return int(self._body(path, answer).nextPosition)

    def close(self) -> None:
        """See `Driver.close`."""
        self._obs.close()

    def _info(self, path: str, answer: Any) -> ObjectInfo:
        return self.info(path, dict(answer.header), "")  # the SDK takes the prefix off

    def _body(self, path: str, answer: Any) -> Any:
        """The SDK gives no body where it could not parse what came."""
        if answer.body is None:
            raise TransientError(f"{self.url(path)}: the server's answer is malformed")
        return answer.body

    def _etag(self, path: str, answer: Any) -> str:
        """The SDK gives a body without an ETag where the server put an error into a 200."""
        etag = (getattr(answer.body, "etag", None) or "").strip('"')
        if not etag:
            raise TransientError(f"{self.url(path)}: the server gave no ETag")
        return etag

    def _call(self, path: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls the SDK and turns what it returns or raises into the contract's exceptions."""
        url = self.url(path)
        try:
            answer = function(*args, **kwargs)
        except Exception as error:  # the SDK raises bare exceptions for most failures
            raise failure(url, self._origin, os_error(error)) from error
        if answer.status >= 300:
            after = dict(answer.header or ()).get("retry-after", "")
            resp = Resp(
                answer.status,
                answer.errorCode or "",
                answer.errorMessage or "",
                answer.requestId or "",
            )
            raise refusal(url, resp, retry_after=after)
        return answer


def _content_md5(body: Body) -> str:
    return base64(body_digest("md5", body))


def _local_time_ns(text: str | None) -> int:
    """The SDK gives the times of a listing in this machine's zone."""
    try:
        return int(time.mktime(time.strptime(text or "", "%Y/%m/%d %H:%M:%S"))) * 1_000_000_000
    except ValueError:
        return 0
