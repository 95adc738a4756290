"""The storage driver contract over plain HTTP: S3's dialect and OBS's differ in a few names."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple, TypeAlias

from mox_core.storage.auth import Settings
from mox_core.storage.driver import Body, Capabilities, FileSlice, ObjectInfo, Recipe, Sink
from mox_core.storage.errors import (
    AccessDeniedError,
    MoxFileNotExistsException,
    MoxFileRespException,
    Resp,
    TransientError,
)

from .base import ObjectStoreDriver
from .bodies import base64, body_digest
from .client import Answer, Client, WireError
from .connection import ProtocolError
from .exchange import Exchange
from .fallback import Fallback, or_sdk
from .headers import etag_of, plain_md5
from .listing import list_pages
from .refusals import UnexpectedAnswerError, refusal
from .replies import complete_body, delete_body, parse
from .request import Request, quote_key

__all__ = ["Dialect", "HttpDriver"]

_SMALL = 256 * 1024
_SLOW_CALL = 600.0
_NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_Failures: TypeAlias = list[tuple[str, Exception]]


class Dialect(NamedTuple):
    """Where the two protocols differ.

    Attributes:
        prefix: 'x-amz-' or 'x-obs-'.
        list_v2: Whether listings go by continuation token (else by marker).
        sign_payload: Cover bodies by SHA-256 in the signature (else by Content-MD5).
        append: Whether AppendObject exists.
        checksums: Whether to ask for the checksums that an object may have beside its ETag.
    """

    prefix: str
    list_v2: bool
    sign_payload: bool
    append: bool
    checksums: bool = False


class HttpDriver(ObjectStoreDriver):
    """An object store over the data plane, and the vendor's SDK for what it does not understand.

    Args:
        scheme: URL scheme, for messages.
        settings: Connection settings, of which only `list_max_keys` is read here.
        client: Sends the requests.
        dialect: How this store speaks.
        capabilities: What this store can do.
        make_sdk: Makes the driver over the vendor's SDK.
        recipe: See `Driver.recipe`.
    """

    def __init__(
        self,
        scheme: str,
        settings: Settings,
        *,
        client: Client,
        dialect: Dialect,
        capabilities: Capabilities,
        make_sdk: Callable[[], ObjectStoreDriver],
        recipe: Recipe | None = None,
    ) -> None:
        super().__init__(scheme, settings)
        self._recipe = recipe
        self.capabilities = capabilities
        self.fallback = Fallback(make_sdk)
        self._client = client
        self._dialect = dialect
        self._exchange = Exchange(client, url=self.url, prefix=dialect.prefix)
        self._ask_checksum = {"x-amz-checksum-mode": "ENABLED"} if dialect.checksums else {}

    def recipe(self) -> Recipe | None:
        """See `Driver.recipe`."""
        return self._recipe

    # ---- objects

    @or_sdk
    def stat(self, path: str) -> ObjectInfo:
        """See `Driver.stat`."""
        answer = self._exchange.ask("HEAD", path, headers=self._ask_checksum)
        return self._info(path, answer) if path.partition("/")[2] else ObjectInfo(path)

    def list(
        self, prefix: str, *, recursive: bool, limit: int = 0
    ) -> Iterator[Sequence[ObjectInfo]]:
        """See `Driver.list`."""
        pages = self._buckets()
        if prefix.partition("/")[0]:
            pages = list_pages(
                prefix,
                exchange=self._exchange,
                retry=self.retry,
                by_token=self._dialect.list_v2,
                recursive=recursive,
                limit=limit,
                page_size=self.settings.list_max_keys or 1000,
            )
        try:
            first = next(pages, None)
        except UnexpectedAnswerError as error:
            sdk = self.fallback.driver(error)
            yield from sdk.list(prefix, recursive=recursive, limit=limit)
            return
        if first is not None:
            yield first
            yield from pages

    def _buckets(self) -> Iterator[Sequence[ObjectInfo]]:
        answer = self.retry.call(self._exchange.ask, "GET", "")
        root = self._exchange.understand("", lambda: parse(answer.body))
        yield [ObjectInfo(f"{e.findtext('Name')}/") for e in root.iter("Bucket")]

    @or_sdk
    def get_object(
        self, path: str, sink: Sink, *, start: int, length: int | None, etag: str
    ) -> ObjectInfo:
        """See `ObjectStoreDriver.get_object`."""
        headers = {}
        if not start and length is None:
            headers.update(self._ask_checksum)
        else:
            last = "" if length is None else start + length - 1
            headers["range"] = f"bytes={start}-{last}"
        if etag:
            headers["if-match"] = f'"{etag}"'
        bucket, _, key = path.partition("/")
        info: ObjectInfo | None = None
        try:
            with self._client.send(Request("GET", bucket, key, headers=headers)) as answer:
                if answer.status in (200, 206):
                    length = answer.promised()
                    info = self._info(path, answer)
                    self.begin(sink, info, etag)
                    for piece in answer.pieces(length, piped=getattr(sink, "pipes", False)):
                        sink.write(piece)  # type: ignore[arg-type]  # Piped where it says so
                else:
                    answer.read()
        except WireError as error:
            raise self._exchange.failed(path, error.reason, began=info is not None) from error
        if info is None:
            raise self._exchange.refused(path, answer)
        return info

    @or_sdk
    def put_object(self, path: str, body: Body, *, if_match: str, if_absent: bool) -> ObjectInfo:
        """See `ObjectStoreDriver.put_object`."""
        headers = {}
        if if_match:
            headers["if-match"] = if_match
        if if_absent:
            headers["if-none-match"] = "*"
        answer = self._send(path, body, headers=headers)
        return ObjectInfo(path, len(body), 0, etag_of(answer.headers))

    @or_sdk
    def delete_many(self, paths: Sequence[str]) -> Iterable[tuple[str, Exception]]:
        """See `Driver.delete_many`."""
        failures: _Failures = []
        by_bucket: dict[str, list[str]] = {}
        for path in paths:
            bucket, _, key = path.partition("/")
            if key:
                by_bucket.setdefault(bucket, []).append(key)
        for bucket, keys in by_bucket.items():
            if len(keys) > 1 and not _NOT_XML.search("".join(keys)):
                failures += self._delete_batch(bucket, keys)
            else:
                for key in keys:
                    failures += self._delete_one(f"{bucket}/{key}")
        return failures

    @or_sdk
    def copy_object(self, source: str, target: str, *, etag: str) -> ObjectInfo:
        """See `ObjectStoreDriver.copy_object`."""
        headers = self._copy_headers(source, etag)
        answer = self._exchange.ask(
            "PUT", target, headers=headers, timeout=_SLOW_CALL, about=source
        )
        return ObjectInfo(target, 0, 0, self._result_etag(target, answer))

    # ---- uploads in parts

    @or_sdk
    def begin_upload(self, path: str) -> str:
        """See `Driver.begin_upload`."""
        answer = self._exchange.ask("POST", path, query={"uploads": None})
        upload = self._exchange.understand(path, lambda: parse(answer.body).findtext("UploadId"))
        if not upload:
            raise self._exchange.failed(path, ProtocolError("the server gave no upload id"))
        return upload

    @or_sdk
    def upload_part(self, path: str, upload: str, number: int, body: Body) -> str:
        """See `Driver.upload_part`."""
        query = {"partNumber": str(number), "uploadId": upload}
        etag = etag_of(self._send(path, body, query=query).headers)
        if not etag:
            raise self._exchange.failed(
                path, ProtocolError(f"the server gave no ETag for part {number}")
            )
        return etag

    @or_sdk
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
        headers = self._copy_headers(source, etag)
        headers[f"{self._dialect.prefix}copy-source-range"] = f"bytes={start}-{start + length - 1}"
        query = {"partNumber": str(number), "uploadId": upload}
        answer = self._exchange.ask(
            "PUT", path, query=query, headers=headers, timeout=_SLOW_CALL, about=source
        )
        return self._result_etag(path, answer)

    @or_sdk
    def complete_upload(self, path: str, upload: str, parts: Sequence[str]) -> ObjectInfo:
        """See `Driver.complete_upload`."""
        answer = self._exchange.ask(
            "POST",
            path,
            query={"uploadId": upload},
            headers={"content-type": "application/xml"},
            body=complete_body(parts),
            timeout=_SLOW_CALL,
        )
        return ObjectInfo(path, 0, 0, self._result_etag(path, answer))

    @or_sdk
    def abort_upload(self, path: str, upload: str) -> None:
        """See `Driver.abort_upload`."""
        with suppress(MoxFileNotExistsException):
            self._exchange.ask("DELETE", path, query={"uploadId": upload})

    @or_sdk
    def append(self, path: str, body: Body, *, position: int) -> int:
        """See `Driver.append`."""
        if not self._dialect.append:
            raise self._unsupported("append", path)
        query = {"append": None, "position": str(position)}
        answer = self._send(path, body, query=query, method="POST")
        following = answer.headers.get(f"{self._dialect.prefix}next-append-position", "")
        return int(following) if following.isdecimal() else position + len(body)

    # ---- life

    def interrupt(self) -> None:
        """See `Driver.interrupt`."""
        for end in self._ends():
            end.interrupt()

    def close(self) -> None:
        """See `Driver.close`."""
        for end in self._ends():
            end.close()

    def _ends(self) -> Sequence[Client | ObjectStoreDriver]:
        return [end for end in (self._client, self.fallback.made) if end is not None]

    # ---- helpers

    def _send(
        self,
        path: str,
        body: Body,
        *,
        query: Mapping[str, str | None] | None = None,
        headers: Mapping[str, str] | None = None,
        method: str = "PUT",
    ) -> Answer:
        """Send content with a digest that the server checks, and check the one it answers."""
        headers = dict(headers or {})
        if isinstance(body, FileSlice) and body.size <= _SMALL:
            size, body = body.size, body.read_all()
            if len(body) != size:
                raise MoxFileRespException(
                    f"the local file behind {self.url(path)} shrank while it was sent"
                )
        sha256 = md5 = None
        if self._dialect.sign_payload:
            sha256 = body_digest("sha256", body).hex()
        else:
            digest = body_digest("md5", body)
            headers["content-md5"] = base64(digest)
            md5 = digest.hex()
        answer = self._exchange.ask(
            method, path, query=query, headers=headers, body=body, payload_sha256=sha256
        )
        arrived = plain_md5(answer.headers, self._dialect.prefix) if md5 else ""
        if arrived and arrived != md5 and method == "PUT":
            raise TransientError(
                f"{self.url(path)} did not arrive as it was sent (MD5 {arrived} instead of {md5})"
            )
        return answer

    def _info(self, path: str, answer: Answer) -> ObjectInfo:
        return self.info(path, answer.headers, self._dialect.prefix)

    def _delete_one(self, path: str) -> _Failures:
        try:
            self._exchange.ask("DELETE", path)
        except MoxFileNotExistsException as error:
            if error.resp and error.resp.errorCode == "NoSuchBucket":
                raise
        except AccessDeniedError as error:
            return [(path, error)]
        return []

    def _delete_batch(self, bucket: str, keys: Sequence[str]) -> _Failures:
        body = delete_body(keys)
        headers = {
            "content-md5": base64(hashlib.md5(body).digest()),
            "content-type": "application/xml",
        }
        answer = self._exchange.ask(
            "POST",
            f"{bucket}/",
            query={"delete": None},
            headers=headers,
            body=body,
            payload_sha256=hashlib.sha256(body).hexdigest(),
        )
        if b"<Error>" not in answer.body:
            return []
        failures: _Failures = []
        root = self._exchange.understand(bucket, lambda: parse(answer.body))
        if root.tag == "Error":
            raise self._exchange.refused(bucket, answer)
        for element in root.iter("Error"):
            path = f"{bucket}/{element.findtext('Key', '')}"
            code, message = element.findtext("Code", ""), element.findtext("Message", "")
            resp = Resp(403 if code == "AccessDenied" else 500, code, message)
            failures.append((path, refusal(self.url(path), resp)))
        return failures

    def _copy_headers(self, source: str, etag: str) -> dict[str, str]:
        prefix = self._dialect.prefix
        headers = {f"{prefix}copy-source": f"/{quote_key(source)}"}
        if etag:
            headers[f"{prefix}copy-source-if-match"] = f'"{etag}"'
        return headers

    def _result_etag(self, path: str, answer: Answer) -> str:
        """The ETag inside the answer to a copy or a completion, which may be a late error."""
        root = self._exchange.understand(path, lambda: parse(answer.body))
        if root.tag == "Error":
            raise self._exchange.refused(path, answer)
        etag = root.findtext("ETag", "").strip('"')
        if not etag:
            raise self._exchange.failed(path, ProtocolError("the server gave no ETag"))
        return etag
