"""The storage driver contract over plain HTTP: S3's dialect and OBS's differ in a few names."""

from __future__ import annotations

import binascii
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple, TypeAlias, TypeVar
from urllib.parse import quote

from mox_core.storage.auth import Settings
from mox_core.storage.driver import (
    Body,
    Capabilities,
    Driver,
    FileSlice,
    ObjectInfo,
    Recipe,
    Sink,
)
from mox_core.storage.errors import (
    AccessDeniedError,
    ChangedError,
    MoxFileNotExistsException,
    MoxFileRespException,
    Resp,
    TransientError,
)

from .client import Ahead, Client, Reply, WireError
from .connection import ProtocolError, SourceChangedError
from .refusals import UnexpectedAnswerError, failure, is_unexpected, refusal
from .replies import (
    Listing,
    complete_body,
    delete_body,
    next_token,
    parse,
    parse_listing,
)
from .request import UNRESERVED, Request
from .times import http_time_ns

__all__ = ["Dialect", "HttpDriver"]

_SMALL = 256 * 1024
_SLOW_CALL = 600.0
_MD5 = re.compile(r"[0-9a-f]{32}")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_T = TypeVar("_T")
_Ahead: TypeAlias = "list[Ahead] | None"  # at most one, None for none ever
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


class HttpDriver(Driver):
    """An object store over the data plane.

    Args:
        scheme: URL scheme, for messages.
        settings: Connection settings, of which only `list_max_keys` is read here.
        client: Sends the requests.
        dialect: How this store speaks.
        capabilities: What this store can do.
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
        recipe: Recipe | None = None,
    ) -> None:
        super().__init__(scheme, settings)
        self._recipe = recipe
        self.capabilities = capabilities
        self._client = client
        self._dialect = dialect
        self._ask_checksum = {"x-amz-checksum-mode": "ENABLED"} if dialect.checksums else {}

    def recipe(self) -> Recipe | None:
        """See `Driver.recipe`."""
        return self._recipe

    # ---- objects

    def stat(self, path: str) -> ObjectInfo:
        """See `Driver.stat`."""
        reply = self._exchange("HEAD", path, headers=dict(self._ask_checksum))
        return self._info(path, reply) if path.partition("/")[2] else ObjectInfo(path)

    def list(
        self, prefix: str, *, recursive: bool, limit: int = 0
    ) -> Iterator[Sequence[ObjectInfo]]:
        """See `Driver.list`."""
        bucket, _, key = prefix.partition("/")
        if not bucket:
            yield self.retry.call(self._buckets)
            return
        size = min(self.settings.list_max_keys or 1000, limit or 1000, 1000)
        query: dict[str, str | None] = {
            "encoding-type": "url",
            "max-keys": str(size),
            "prefix": key,
        }
        if not recursive:
            query["delimiter"] = "/"
        if self._dialect.list_v2:
            query["list-type"] = "2"
        position = "continuation-token" if self._dialect.list_v2 else "marker"
        count = 0
        ahead: _Ahead = [] if self._dialect.list_v2 and not limit else None
        try:
            while True:
                page = self.retry.call(self._page, bucket, query, what=prefix, ahead=ahead)
                if page.entries:
                    yield page.entries
                count += len(page.entries)
                if not page.next or 0 < limit <= count:
                    return
                if page.next == query.get(position):
                    error = ProtocolError("the listing does not get any further")
                    raise self._failed(prefix, error)
                query[position] = page.next
        finally:
            _drop(ahead)

    def _page(
        self,
        bucket: str,
        query: Mapping[str, str | None],
        *,
        what: str,
        ahead: _Ahead,
    ) -> Listing:
        """One page; with `ahead`, the request for the next one is sent before this one is read."""
        sent = ahead.pop() if ahead else None
        reply = self._exchange("GET", f"{bucket}/", query=dict(query), what=what, sent=sent)
        token = "" if ahead is None else next_token(reply.body)
        if ahead is not None and token:
            following = {**query, "continuation-token": token}
            ahead.append(self._client.ahead(Request("GET", bucket, query=following)))
        page = None
        try:
            page = self._understand(what, lambda: parse_listing(reply.body, bucket=bucket))
        finally:
            if page is None or page.next != token:
                _drop(ahead)
        return page

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
        if length == 0:
            info = self.stat(path)
            sink.begin(info)
            return info
        headers = {}
        if not start and length is None:
            headers.update(self._ask_checksum)
        else:
            last = "" if length is None else start + length - 1
            headers["range"] = f"bytes={start}-{last}"
        if etag:
            headers["if-match"] = f'"{etag}"'
        bucket, _, key = path.partition("/")
        infos: list[ObjectInfo] = []

        def begin(reply: Reply) -> None:
            info = self._info(path, reply)
            if etag and info.etag and info.etag != etag:
                raise ChangedError(f"{self.url(path)} was replaced by another version")
            infos.append(info)
            sink.begin(info)

        try:
            reply = self._client.fetch(
                Request("GET", bucket, key, headers=headers), begin=begin, write=sink.write
            )
        except WireError as error:
            raise self._failed(path, error.reason, began=bool(infos)) from error
        if infos:
            return infos[0]
        if reply.status == 416:
            info = self.stat(path)
            if etag and info.etag != etag:
                raise ChangedError(f"{self.url(path)} was replaced by another version")
            if start < info.size:
                raise self._failed(path, ProtocolError("the server refuses a range that exists"))
            sink.begin(info)
            return info
        raise self._refused(path, reply)

    def put(
        self, path: str, body: Body, *, if_match: str = "", if_absent: bool = False
    ) -> ObjectInfo:
        """See `Driver.put`."""
        if path.endswith("/") and path.count("/") == 1:
            return self.stat(path)  # a bucket is there or not; mox makes none
        headers = {}
        if if_match:
            headers["if-match"] = f'"{if_match}"'
        if if_absent:
            headers["if-none-match"] = "*"
        try:
            reply, etag = self._send(path, body, headers=headers)
        except ChangedError:
            if not if_match:
                raise
            # Ceph compares what it is sent with an ETag without quotes.
            reply, etag = self._send(path, body, headers={"if-match": if_match})
        return ObjectInfo(path, len(body), 0, etag)

    def delete_many(self, paths: Sequence[str]) -> Iterable[tuple[str, Exception]]:
        """See `Driver.delete_many`."""
        failures: _Failures = []
        by_bucket: dict[str, list[str]] = {}
        for path in paths:
            bucket, _, key = path.partition("/")
            if key:
                by_bucket.setdefault(bucket, []).append(key)
        for bucket, keys in by_bucket.items():
            alone = keys if len(keys) == 1 else []
            if not alone and _NOT_XML.search("".join(keys)):  # no XML can name some
                alone = [key for key in keys if _NOT_XML.search(key)]
            for key in alone:
                failures += self._delete_one(f"{bucket}/{key}")
            left = [key for key in keys if key not in alone] if alone else keys
            if left:
                failures += self._delete_batch(bucket, left)
        return failures

    def copy(self, source: str, target: str, *, etag: str = "") -> ObjectInfo:
        """See `Driver.copy`."""
        if source == target:
            return self.stat(source)
        headers = self._copy_headers(source, etag)
        reply = self._exchange("PUT", target, headers=headers, timeout=_SLOW_CALL, what=source)
        return ObjectInfo(target, 0, 0, self._result_etag(target, reply))

    # ---- uploads in parts

    def begin_upload(self, path: str) -> str:
        """See `Driver.begin_upload`."""
        reply = self._exchange("POST", path, query={"uploads": None})
        upload = self._understand(path, lambda: parse(reply.body).findtext("UploadId"))
        if not upload:
            raise self._failed(path, ProtocolError("the server gave no upload id"))
        return upload

    def upload_part(self, path: str, upload: str, number: int, body: Body) -> str:
        """See `Driver.upload_part`."""
        query = {"partNumber": str(number), "uploadId": upload}
        _, etag = self._send(path, body, query=query)
        if not etag:
            raise self._failed(path, ProtocolError(f"the server gave no ETag for part {number}"))
        return etag

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
        reply = self._exchange(
            "PUT", path, query=query, headers=headers, timeout=_SLOW_CALL, what=source
        )
        return self._result_etag(path, reply)

    def complete_upload(self, path: str, upload: str, parts: Sequence[str]) -> ObjectInfo:
        """See `Driver.complete_upload`."""
        reply = self._exchange(
            "POST",
            path,
            query={"uploadId": upload},
            headers={"content-type": "application/xml"},
            body=complete_body(parts),
            timeout=_SLOW_CALL,
        )
        return ObjectInfo(path, 0, 0, self._result_etag(path, reply))

    def abort_upload(self, path: str, upload: str) -> None:
        """See `Driver.abort_upload`."""
        with suppress(MoxFileNotExistsException):
            self._exchange("DELETE", path, query={"uploadId": upload})

    def append(self, path: str, body: Body, *, position: int) -> int:
        """See `Driver.append`."""
        if not self._dialect.append:
            raise self._unsupported("append", path)
        query = {"append": None, "position": str(position)}
        reply, _ = self._send(path, body, query=query, method="POST")
        following = reply.headers.get(f"{self._dialect.prefix}next-append-position", "")
        return int(following) if following.isdecimal() else position + len(body)

    # ---- life

    def interrupt(self) -> None:
        """See `Driver.interrupt`."""
        self._client.interrupt()

    def close(self) -> None:
        """See `Driver.close`."""
        self._client.close()

    # ---- helpers

    def _send(
        self,
        path: str,
        body: Body,
        *,
        query: Mapping[str, str | None] | None = None,
        headers: dict[str, str] | None = None,
        method: str = "PUT",
    ) -> tuple[Reply, str]:
        """Send content with a digest that the server checks, and check the one it answers."""
        headers = headers or {}
        if isinstance(body, FileSlice) and body.size <= _SMALL:
            size, body = body.size, body.read_all()
            if len(body) != size:
                raise MoxFileRespException(
                    f"the local file behind {self.url(path)} shrank while it was sent"
                )
        sha256 = md5 = None
        if self._dialect.sign_payload:
            sha256 = _digest("sha256", body).hex()
        else:
            digest = _digest("md5", body)
            headers["content-md5"] = _base64(digest)
            md5 = digest.hex()
        reply = self._exchange(
            method, path, query=query, headers=headers, body=body, payload_sha256=sha256
        )
        etag = _etag(reply)
        plain = _MD5.fullmatch(etag) and not self._encrypted(reply)
        if md5 and plain and etag != md5 and method == "PUT":
            raise TransientError(
                f"{self.url(path)} did not arrive as it was sent (MD5 {etag} instead of {md5})"
            )
        return reply, etag

    def _delete_one(self, path: str) -> _Failures:
        try:
            self._exchange("DELETE", path)
        except MoxFileNotExistsException as error:
            if error.resp and error.resp.errorCode == "NoSuchBucket":
                raise
        except AccessDeniedError as error:
            return [(path, error)]
        return []

    def _delete_batch(self, bucket: str, keys: Sequence[str]) -> _Failures:
        body = delete_body(keys)
        headers = {
            "content-md5": _base64(hashlib.md5(body).digest()),
            "content-type": "application/xml",
        }
        reply = self._exchange(
            "POST",
            f"{bucket}/",
            query={"delete": None},
            headers=headers,
            body=body,
            payload_sha256=hashlib.sha256(body).hexdigest(),
        )
        if b"<Error>" not in reply.body:
            return []
        failures: _Failures = []
        root = self._understand(bucket, lambda: parse(reply.body))
        if root.tag == "Error":
            raise self._refused(bucket, reply)
        for element in root.iter("Error"):
            path = f"{bucket}/{element.findtext('Key', '')}"
            code, message = element.findtext("Code", ""), element.findtext("Message", "")
            resp = Resp(403 if code == "AccessDenied" else 500, code, message)
            failures.append((path, refusal(self.url(path), resp)))
        return failures

    def _copy_headers(self, source: str, etag: str) -> dict[str, str]:
        prefix = self._dialect.prefix
        headers = {f"{prefix}copy-source": "/" + quote(source, UNRESERVED + "/")}
        if etag:
            headers[f"{prefix}copy-source-if-match"] = f'"{etag}"'
        return headers

    def _buckets(self) -> Sequence[ObjectInfo]:
        reply = self._exchange("GET", "")
        root = self._understand("", lambda: parse(reply.body))
        return [ObjectInfo(f"{e.findtext('Name')}/") for e in root.iter("Bucket")]

    def _exchange(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | None] | None = None,
        headers: dict[str, str] | None = None,
        body: Body | None = None,
        payload_sha256: str | None = None,
        timeout: float | None = None,
        what: str = "",
        sent: Ahead | None = None,
    ) -> Reply:
        """One request; anything but success raises, with a message about `what`."""
        bucket, _, key = path.partition("/")
        request = Request(
            method,
            bucket,
            key,
            query=query or {},
            headers=headers or {},
            body=body,
            payload_sha256=payload_sha256,
            idempotent=not (query and "append" in query),
            timeout=timeout,
        )
        try:
            reply = self._client.exchange(request) if sent is None else sent.reply()
        except WireError as error:
            raise self._failed(what or path, error.reason) from error
        except SourceChangedError as error:
            raise MoxFileRespException(f"{self.url(path)} was not written: {error}") from error
        if 200 <= reply.status < 300:
            return reply
        raise self._refused(what or path, reply)

    def _understand(self, path: str, read: Callable[[], _T]) -> _T:
        try:
            return read()
        except ProtocolError as error:
            raise self._failed(path, error) from error

    def _info(self, path: str, reply: Reply) -> ObjectInfo:
        """What the headers of GET or HEAD say about the whole object."""
        headers = reply.headers
        size = headers.get("content-length", "")
        if reply.status == 206:
            size = headers.get("content-range", "").rpartition("/")[2]
        if not (size.isascii() and size.isdigit()):
            raise self._failed(path, ProtocolError("the server does not say the object's size"))
        etag = _etag(reply)
        return ObjectInfo(
            path,
            int(size),
            http_time_ns(headers.get("last-modified", "")),
            etag,
            self._whole_digest(reply, etag),
        )

    def _whole_digest(self, reply: Reply, etag: str) -> str:
        """The digest of the content if the server vouches for one, as `algorithm:hex`."""
        # Of an object that grew by AppendObject nobody promises what the ETag is.
        grown = f"{self._dialect.prefix}object-type" in reply.headers
        if _MD5.fullmatch(etag) and not grown and not self._encrypted(reply):
            return f"md5:{etag}"
        if reply.headers.get("x-amz-checksum-type", "FULL_OBJECT") != "FULL_OBJECT":
            return ""
        for algorithm in ("sha256", "sha1", "crc32"):
            value = reply.headers.get(f"x-amz-checksum-{algorithm}", "")
            if _BASE64.fullmatch(value):  # "...-3": a digest of the digests of 3 parts
                return f"{algorithm}:{binascii.a2b_base64(value).hex()}"
        return ""

    def _encrypted(self, reply: Reply) -> bool:
        """Whether the ETag is not an MD5 because the store encrypts with a key of its own."""
        prefix = self._dialect.prefix + "server-side-encryption"
        kind = reply.headers.get(prefix, "")
        return kind not in ("", "AES256") or f"{prefix}-customer-algorithm" in reply.headers

    def _result_etag(self, path: str, reply: Reply) -> str:
        """The ETag inside the answer to a copy or a completion, which may be a late error."""
        root = self._understand(path, lambda: parse(reply.body))
        if root.tag == "Error":
            raise self._refused(path, reply)
        etag = root.findtext("ETag", "").strip('"')
        if not etag:
            raise self._failed(path, ProtocolError("the server gave no ETag"))
        return etag

    def _failed(self, path: str, error: OSError, *, began: bool = False) -> Exception:
        url = self.url(path)
        if isinstance(error, ProtocolError) and not began:
            return UnexpectedAnswerError(f"{url}: {error}")
        return failure(url, self._client.origin, error)

    def _refused(self, path: str, reply: Reply) -> Exception:
        headers, prefix = reply.headers, self._dialect.prefix
        code = headers.get(f"{prefix}error-code", "")
        message = headers.get(f"{prefix}error-message", "")
        request_id = headers.get(f"{prefix}request-id", "")
        try:
            root = parse(reply.body)
            code, message = root.findtext("Code", code), root.findtext("Message", message)
        except ProtocolError:
            pass  # HEAD, a proxy's HTML page, ...
        resp = Resp(reply.status, code, message, request_id)
        if is_unexpected(resp):
            return UnexpectedAnswerError(f"{self.url(path)}: {reply.status} {code}", resp=resp)
        after = headers.get("retry-after", "")
        return refusal(self.url(path), resp, retry_after=float(after) if after.isdecimal() else 0.0)


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()


def _drop(ahead: _Ahead) -> None:
    while ahead:
        ahead.pop().close()


def _etag(reply: Reply) -> str:
    return reply.headers.get("etag", "").strip('"')


def _digest(algorithm: str, body: Body) -> bytes:
    """Digest of a body; a file is read in small pieces, so that memory stays small."""
    if not isinstance(body, FileSlice):
        return hashlib.new(algorithm, body).digest()
    digest = hashlib.new(algorithm)
    buffer = memoryview(bytearray(min(body.size, 1 << 20)))
    done = 0
    while done < body.size:
        count = os.preadv(body.fd, [buffer[: body.size - done]], body.offset + done)
        if not count:
            break  # sending will find out, and say so
        digest.update(buffer[:count])
        done += count
    return digest.digest()
