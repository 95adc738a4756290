"""The same contract over boto3: the reference, the fallback, and what the off switch leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_plus

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    SSLError,
)
from urllib3.exceptions import HTTPError

from mox_core.storage.auth import Settings
from mox_core.storage.driver import Body, ObjectInfo, Sink
from mox_core.storage.errors import (
    AccessDeniedError,
    MoxFileNotExistsException,
    MoxFileReadException,
    MoxFileRespException,
    Resp,
)
from mox_core.storage.http.bodies import body_stream
from mox_core.storage.http.refusals import failure, refusal
from mox_core.storage.http.request import CONNECT_TIMEOUT, READ_TIMEOUT
from mox_core.storage.http.sdk import SdkDriver, os_error
from mox_storage_s3.driver import CAPABILITIES, DEFAULT_REGION, is_path_style

__all__ = ["Boto3Driver", "make_client"]

_CHUNK = 1 << 20


def make_client(settings: Settings) -> Any:
    """A boto3 client that makes one attempt, and sends no checksums that some stores refuse."""
    connect, read = settings.timeout_config or (
        settings.client_timeout or CONNECT_TIMEOUT,
        settings.client_timeout or READ_TIMEOUT,
    )
    addressing = "path" if is_path_style(settings, settings.server or "amazonaws.com") else "auto"
    config = Config(
        signature_version="s3v4",
        connect_timeout=connect,
        read_timeout=read,
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=64,
        tcp_keepalive=True,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": addressing, "payload_signing_enabled": True},  # type: ignore[arg-type]
    )
    said = settings.ak is not None
    session = _session() if said else boto3.session.Session()
    return session.client(
        "s3",
        aws_access_key_id=settings.ak,
        aws_secret_access_key=settings.sk,
        aws_session_token=settings.token,
        endpoint_url=settings.endpoint,
        region_name=settings.region or session.region_name or DEFAULT_REGION,
        verify=settings.ssl_verify,
        config=config,
    )


@lru_cache(maxsize=1)
def _session() -> boto3.session.Session:
    """The session of clients that bring their credentials: it keeps boto3's parsed API models."""
    return boto3.session.Session()


class Boto3Driver(SdkDriver):
    """S3 through boto3 alone.

    Args:
        scheme: URL scheme, for messages.
        settings: Credentials and connection settings.
    """

    capabilities = CAPABILITIES

    def __init__(self, scheme: str, settings: Settings) -> None:
        super().__init__(scheme, settings)
        self._s3 = make_client(settings)

    # ---- objects

    def stat(self, path: str) -> ObjectInfo:
        """See `Driver.stat`."""
        bucket, _, key = path.partition("/")
        with self._errors(path):
            if not key:
                self._s3.head_bucket(Bucket=bucket)
                return ObjectInfo(path)
            answer = self._s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        return self._info(path, answer)

    def list(
        self, prefix: str, *, recursive: bool, limit: int = 0
    ) -> Iterator[Sequence[ObjectInfo]]:
        """See `Driver.list`."""
        bucket, _, key = prefix.partition("/")
        if not bucket:
            answer = self.retry.call(self._asked, prefix, self._s3.list_buckets)
            yield [ObjectInfo(f"{b['Name']}/") for b in answer["Buckets"]]
            return
        asked: dict[str, Any] = {"Bucket": bucket, "Prefix": key, "EncodingType": "url"}
        asked["MaxKeys"] = min(self.settings.list_max_keys or 1000, limit or 1000)
        if not recursive:
            asked["Delimiter"] = "/"
        count = 0
        while True:
            page = self.retry.call(self._asked, prefix, self._s3.list_objects_v2, **asked)
            # boto3 takes the encoding off only when it asked for it by itself.
            decode = unquote_plus if page.get("EncodingType") == "url" else str
            entries = [
                ObjectInfo(
                    f"{bucket}/{decode(entry['Key'])}",
                    entry["Size"],
                    _time_ns(entry.get("LastModified")),
                    entry.get("ETag", "").strip('"'),
                )
                for entry in page.get("Contents", ())
            ]
            entries += [
                ObjectInfo(f"{bucket}/{decode(p['Prefix'])}")
                for p in page.get("CommonPrefixes", ())
            ]
            if entries:
                yield entries
            count += len(entries)
            token = page.get("NextContinuationToken")
            if not token or 0 < limit <= count:
                return
            asked["ContinuationToken"] = token

    def _asked(self, prefix: str, call: Callable[..., Any], **asked: Any) -> Any:
        with self._errors(prefix):
            return call(**asked)

    def get_object(
        self, path: str, sink: Sink, *, start: int, length: int | None, etag: str
    ) -> ObjectInfo:
        """See `ObjectStoreDriver.get_object`."""
        bucket, _, key = path.partition("/")
        asked = {"Bucket": bucket, "Key": key}
        if start or length is not None:
            asked["Range"] = f"bytes={start}-{'' if length is None else start + length - 1}"
        else:
            asked["ChecksumMode"] = "ENABLED"
        if etag:
            asked["IfMatch"] = f'"{etag}"'
        with self._errors(path):
            answer = self._s3.get_object(**asked)
        with answer["Body"] as body:
            info = self._info(path, answer)
            if "Range" in asked and not answer.get("ContentRange", "").startswith(
                f"bytes {start}-"
            ):
                raise MoxFileRespException(f"{self.url(path)}: the server ignores ranges")
            self.begin(sink, info, etag)
            while True:
                with self._errors(path):
                    chunk = body.read(_CHUNK)
                if not chunk:
                    return info
                sink.write(memoryview(chunk))

    def put_object(self, path: str, body: Body, *, if_match: str, if_absent: bool) -> ObjectInfo:
        """See `ObjectStoreDriver.put_object`."""
        bucket, _, key = path.partition("/")
        asked: dict[str, Any] = {"Bucket": bucket, "Key": key, "ContentLength": len(body)}
        if if_match:
            asked["IfMatch"] = if_match
        if if_absent:
            asked["IfNoneMatch"] = "*"
        with self._errors(path):
            answer = self._s3.put_object(Body=body_stream(body), **asked)
        return ObjectInfo(path, len(body), 0, answer.get("ETag", "").strip('"'))

    def delete_one(self, path: str) -> None:
        """See `SdkDriver.delete_one`."""
        bucket, _, key = path.partition("/")
        with self._errors(path):
            self._s3.delete_object(Bucket=bucket, Key=key)

    def copy_object(self, source: str, target: str, *, etag: str) -> ObjectInfo:
        """See `ObjectStoreDriver.copy_object`."""
        bucket, _, key = target.partition("/")
        with self._errors(source):
            answer = self._s3.copy_object(Bucket=bucket, Key=key, **_copy_source(source, etag))
        return ObjectInfo(target, 0, 0, answer["CopyObjectResult"]["ETag"].strip('"'))

    # ---- uploads in parts

    def begin_upload(self, path: str) -> str:
        """See `Driver.begin_upload`."""
        bucket, _, key = path.partition("/")
        with self._errors(path):
            upload = self._s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        return str(upload)

    def upload_part(self, path: str, upload: str, number: int, body: Body) -> str:
        """See `Driver.upload_part`."""
        bucket, _, key = path.partition("/")
        with self._errors(path):
            answer = self._s3.upload_part(
                Bucket=bucket,
                Key=key,
                UploadId=upload,
                PartNumber=number,
                Body=body_stream(body),
                ContentLength=len(body),
            )
        return str(answer["ETag"].strip('"'))

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
        bucket, _, key = path.partition("/")
        with self._errors(source):
            answer = self._s3.upload_part_copy(
                Bucket=bucket,
                Key=key,
                UploadId=upload,
                PartNumber=number,
                CopySourceRange=f"bytes={start}-{start + length - 1}",
                **_copy_source(source, etag),
            )
        part = answer.get("CopyPartResult", {}).get("ETag", "").strip('"')
        if not part:
            raise MoxFileRespException(
                f"{self.url(path)}: the server gave no ETag for part {number}"
            )
        return str(part)

    def complete_upload(self, path: str, upload: str, parts: Sequence[str]) -> ObjectInfo:
        """See `Driver.complete_upload`."""
        bucket, _, key = path.partition("/")
        joined = [{"PartNumber": n, "ETag": f'"{etag}"'} for n, etag in enumerate(parts, 1)]
        with self._errors(path):
            answer = self._s3.complete_multipart_upload(
                Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": joined}
            )
        return ObjectInfo(path, 0, 0, answer.get("ETag", "").strip('"'))

    def abort_upload(self, path: str, upload: str) -> None:
        """See `Driver.abort_upload`."""
        bucket, _, key = path.partition("/")
        with suppress(MoxFileNotExistsException), self._errors(path):
            self._s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)

    def close(self) -> None:
        """See `Driver.close`."""
        self._s3.close()

    def _info(self, path: str, answer: dict[str, Any]) -> ObjectInfo:
        return self.info(path, answer["ResponseMetadata"]["HTTPHeaders"], "x-amz-")

    @contextmanager
    def _errors(self, path: str) -> Iterator[None]:
        """Turns boto3's exceptions into those of the contract."""
        url = self.url(path)
        try:
            yield
        except ClientError as error:
            said = error.response.get("Error", {})
            meta = error.response.get("ResponseMetadata", {})
            code = said.get("Code", "")
            resp = Resp(
                meta.get("HTTPStatusCode", 0),
                "" if code.isdigit() else code,  # HEAD: botocore puts the status there
                said.get("Message", ""),
                meta.get("RequestId", ""),
            )
            after = meta.get("HTTPHeaders", {}).get("retry-after", "")
            raise refusal(url, resp, retry_after=after) from error
        except NoCredentialsError as error:
            raise AccessDeniedError(f"there are no credentials for {url}") from error
        except SSLError as error:
            raise MoxFileRespException(
                f"{url}: no TLS connection: {error}\n"
                "  Name the server's CA file: set_auth(ssl_verify='/path/ca.pem'), or, if it speaks"
                " plain HTTP: set_auth(is_secure=False)"
            ) from error
        except FlexibleChecksumError as error:
            raise MoxFileReadException(f"{url} arrived damaged: {error}") from error
        except (HTTPClientError, ConnectionError, IncompleteReadError, HTTPError) as error:
            raise failure(url, self._s3.meta.endpoint_url, os_error(error)) from error
        except BotoCoreError as error:
            raise MoxFileRespException(f"{url}: {error}") from error


def _copy_source(source: str, etag: str) -> dict[str, Any]:
    bucket, _, key = source.partition("/")
    asked: dict[str, Any] = {"CopySource": {"Bucket": bucket, "Key": key}}
    if etag:
        asked["CopySourceIfMatch"] = f'"{etag}"'
    return asked


def _time_ns(time: datetime | None) -> int:
    if time is None:
        return 0
    elapsed = time - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (elapsed.days * 86400 + elapsed.seconds) * 1_000_000_000 + elapsed.microseconds * 1000
