"""An object store for tests that speaks OBS's dialect and S3's, checks signatures, and misbehaves.

It follows the public API references, not the clients under test: signatures are recomputed here
from what arrived. `faults` make it fail in the ways that networks and stores fail.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import socket
import ssl
import threading
import time
import uuid
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

ACCESS_KEY = "TESTACCESSKEY0001"
SECRET_KEY = "test/secret+key0001"
MIN_PART = 100 * 1024
MAX_SKEW = 900.0
SUBRESOURCES = frozenset({"append", "delete", "partNumber", "position", "uploadId", "uploads"})


@dataclass
class Stored:
    data: bytes
    etag: str
    mtime: float
    appendable: bool = False


@dataclass
class Fault:
    """One way to misbehave, for requests that match.

    Attributes:
        kind: `status`, `reset` (before the answer), `cut` (close after `at` bytes of the body),
            `flip` (one byte of a body sent), `flip_in` (one byte of a body received), `stall`
            (stop after `at` bytes, or before the head for -1, until the server closes), `skew`
            (another clock), `late` (do it, then answer 500), `error_200` (an error inside a 200),
            `longer` (more than promised), `replace` (another object after the answer), `early_403`
            (answer before the body is read), `whole` (ignore Range), `garbage` (no HTTP), `raw`
            (send `body` as it is).
        method: Only requests with this method.
        match: Only targets (path and query) in which this pattern is found.
        times: How often; -1 for always.
    """

    kind: str
    method: str = ""
    match: str = ""
    times: int = 1
    status: int = 503
    code: str = "SlowDown"
    at: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class ObjectStore:
    """The server: `with ObjectStore() as store: store.url`.

    Attributes:
        shifting: Whether pages of a listing are cut by position; those after the first wait until
            something was deleted, so that the listing misses keys for certain.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, api: str = "3.0") -> None:
        self.buckets: dict[str, dict[str, Stored]] = {"bucket": {}}
        self.uploads: dict[str, tuple[str, str, dict[int, bytes]]] = {}
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self.schemes: set[str] = set()
        self.connections = 0
        self.closing = threading.Event()
        self.lock = threading.RLock()
        self.clock_offset = 0.0
        self.shifting = False
        self.deleted = False
        self.changed = threading.Condition(self.lock)
        self.api = api
        store = self

        class Bound(Handler):
            pass

        Bound.store = store
        self._server = Server(("127.0.0.1", 0), Bound)
        self._server.daemon_threads = True
        self._server.store = store
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    def __enter__(self) -> ObjectStore:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def reset(self) -> None:
        with self.lock:
            self.buckets = {"bucket": {}}
            self.uploads, self.faults, self.requests, self.schemes = {}, [], [], set()
            self.clock_offset = 0.0
            self.shifting = self.deleted = False

    def fail(self, kind: str, **how: object) -> None:
        with self.lock:
            self.faults.append(Fault(kind, **how))  # type: ignore[arg-type]

    def put(self, key: str, data: bytes, *, appendable: bool = False) -> Stored:
        stored = Stored(data, hashlib.md5(data).hexdigest(), time.time(), appendable)
        with self.lock:
            self.buckets["bucket"][key] = stored
        return stored

    def get(self, key: str) -> bytes | None:
        with self.lock:
            stored = self.buckets["bucket"].get(key)
        return None if stored is None else stored.data

    def take_fault(self, method: str, target: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                wanted = fault.times and fault.method in ("", method)
                if wanted and re.search(fault.match, target):
                    fault.times -= 1
                    return fault
        return None


class Server(ThreadingHTTPServer):
    request_queue_size = 256
    store: ObjectStore

    def get_request(self):  # noqa: ANN201
        connection, address = super().get_request()
        self.store.connections += 1
        return connection, address

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are part of the tests."""


class Refused(Exception):
    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, message


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    store: ObjectStore

    def log_message(self, *_: object) -> None:
        pass

    def handle_one(self) -> None:
        store = self.store
        parts = urlsplit(self.path)
        self.query = dict(parse_qsl(parts.query, keep_blank_values=True))
        host = self.headers["Host"].rpartition(":")[0]
        path = parts.path
        self.virtual = not re.fullmatch(r"[0-9.]+|localhost", host)
        if self.virtual:
            self.bucket, self.key = host.partition(".")[0], unquote(path[1:])
        else:
            self.bucket, _, self.key = unquote(path[1:]).partition("/")
        authorization = self.headers.get("Authorization", "")
        self.prefix = "x-obs-" if authorization.startswith("OBS") else "x-amz-"
        if self.command == "HEAD" and "apiversion" in self.query:
            self.send_response(200)
            if store.api:
                self.send_header("x-obs-api", store.api)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        store.requests.append((self.command, self.path))
        self.fault = store.take_fault(self.command, self.path)
        kind = self.fault.kind if self.fault else ""
        try:
            if kind == "early_403":
                self.close_connection = True
                raise Refused(403, "AccessDenied")
            body = self.read_body()
            if kind == "reset":
                self.reset()
                return
            if kind in ("garbage", "raw"):
                self.wfile.write(self.fault.body or b"\x00\xff nonsense\r\n\r\n")
                self.close_connection = True
                return
            if kind == "flip_in" and body:
                body = bytes([body[0] ^ 1]) + body[1:]
            if kind == "error_200":
                self.send_answer(200, error_xml("InternalError", "try again"), {})
                return
            if kind == "status":
                raise Refused(self.fault.status, self.fault.code)
            self.check_signature(authorization, parts.path, body)
            self.check_digests(body)
            with store.lock:
                self.serve(body)
            self.send_answer(*self.pending)
        except Refused as error:
            self.refuse(error)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_one  # noqa: N815

    # ---- reading

    def handle_expect_100(self) -> bool:
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            raise Refused(400, "IncompleteBody")
        return body

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        self.connection.close()

    # ---- authentication

    def check_signature(self, authorization: str, path: str, body: bytes) -> None:
        scheme = authorization.partition(" ")[0]
        self.store.schemes.add(scheme)
        if scheme in ("OBS", "AWS"):
            access, _, signature = authorization.partition(" ")[2].partition(":")
            text = self.hmac_text(path)
            mac = hmac.new(SECRET_KEY.encode(), text.encode(), hashlib.sha1).digest()
            expected = base64.b64encode(mac).decode()
            date = self.headers.get(self.prefix + "date") or self.headers.get("Date", "")
        elif scheme == "AWS4-HMAC-SHA256":
            fields = dict(
                piece.strip().split("=", 1) for piece in authorization.partition(" ")[2].split(",")
            )
            access, scope = fields["Credential"].split("/", 1)
            signature, names = fields["Signature"], fields["SignedHeaders"].split(";")
            expected = self.v4_signature(path, scope, names, body)
            date = self.headers.get("x-amz-date", "")
        else:
            raise Refused(403, "AccessDenied", "anonymous")
        if access != ACCESS_KEY:
            raise Refused(403, "InvalidAccessKeyId")
        if not hmac.compare_digest(signature, expected):
            raise Refused(403, "SignatureDoesNotMatch")
        then = (
            time.mktime(time.strptime(date, "%Y%m%dT%H%M%SZ")) - time.timezone
            if date.endswith("Z")
            else parsedate_to_datetime(date).timestamp()
        )
        if abs(then - time.time() - self.store.clock_offset) > MAX_SKEW:
            raise Refused(403, "RequestTimeTooSkewed")

    def hmac_text(self, path: str) -> str:
        special = sorted(
            (name.lower(), value.strip())
            for name, value in self.headers.items()
            if name.lower().startswith(self.prefix)
        )
        date = "" if self.headers.get(self.prefix + "date") else self.headers.get("Date", "")
        resource = f"/{self.bucket}{path}" if self.virtual else path
        raw = dict(
            (unquote(name), unquote(value) if eq else None)
            for name, eq, value in (
                piece.partition("=") for piece in urlsplit(self.path).query.split("&") if piece
            )
        )
        signed = [
            name if value is None else f"{name}={value}"
            for name, value in sorted(raw.items())
            if name in SUBRESOURCES
        ]
        return "\n".join(
            [
                self.command,
                self.headers.get("Content-MD5", ""),
                self.headers.get("Content-Type", ""),
                date,
                *(f"{name}:{value}" for name, value in special),
                resource + ("?" + "&".join(signed) if signed else ""),
            ]
        )

    def v4_signature(self, path: str, scope: str, names: list[str], body: bytes) -> str:
        missing = {n.lower() for n in self.headers if n.lower().startswith("x-amz-")} - set(names)
        if missing or "host" not in names:
            raise Refused(403, "AccessDenied", "unsigned headers")
        claimed = self.headers["x-amz-content-sha256"]
        if claimed != "UNSIGNED-PAYLOAD" and claimed != hashlib.sha256(body).hexdigest():
            raise Refused(400, "XAmzContentSHA256Mismatch")
        query = "&".join(
            f"{quote(n, safe='-_.~')}={quote(v, safe='-_.~')}"
            for n, v in sorted(self.query.items())
        )
        headers = "".join(f"{n}:{' '.join(self.headers[n].split())}\n" for n in names)
        canonical = "\n".join([self.command, path, query, headers, ";".join(names), claimed])
        stamp = self.headers["x-amz-date"]
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
        key = b"AWS4" + SECRET_KEY.encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()

    def check_digests(self, body: bytes) -> None:
        claimed = self.headers.get("Content-MD5")
        if claimed and base64.b64decode(claimed) != hashlib.md5(body).digest():
            raise Refused(400, "BadDigest")

    # ---- answering

    def answer(
        self, status: int = 200, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> None:
        """Keep the answer until the lock is released."""
        self.pending = (status, body, dict(headers or {}))
        if self.fault and self.fault.kind == "late":
            raise Refused(500, "InternalError")
        if self.fault and self.fault.kind == "replace":
            self.store.put(self.key, self.fault.body)

    def send_answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        fault = self.fault
        kind = fault.kind if fault else ""
        length = len(body)
        if fault and kind == "stall" and fault.at < 0:
            self.store.closing.wait(60)
            self.close_connection = True
            return
        if kind == "flip" and body:
            middle = length // 2
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        self.send_response(status)
        self.send_header(self.prefix + "request-id", uuid.uuid4().hex)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers and status not in (204, 304):
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command == "HEAD":
            return
        if kind == "cut":
            self.wfile.write(body[: fault.at])
            self.wfile.flush()
            self.close_connection = True
        elif kind == "stall":
            self.wfile.write(body[: fault.at])
            self.wfile.flush()
            self.store.closing.wait(60)
            self.close_connection = True
        else:
            self.wfile.write(body + (b"surplus" if kind == "longer" else b""))
            self.wfile.flush()

    def date_time_string(self, timestamp: float | None = None) -> str:
        now = time.time() + self.store.clock_offset if timestamp is None else timestamp
        return formatdate(now, usegmt=True)

    def refuse(self, error: Refused) -> None:
        body = b"" if self.command == "HEAD" else error_xml(error.code, error.message)
        self.send_response(error.status)
        if self.prefix == "x-obs-":
            self.send_header("x-obs-error-code", error.code)
        for name, value in (self.fault.headers if self.fault else {}).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def answer_xml(self, tag: str, inner: str) -> None:
        text = f'<?xml version="1.0" encoding="UTF-8"?><{tag} xmlns="http://obs.example.org/doc/">{inner}</{tag}>'
        self.answer(200, text.encode(), {"Content-Type": "application/xml"})

    # ---- operations

    def serve(self, body: bytes) -> None:
        if not self.bucket:
            names = "".join(
                f"<Bucket><Name>{n}</Name><CreationDate>2026-01-01T00:00:00.000Z</CreationDate>"
                "</Bucket>"
                for n in self.store.buckets
            )
            owner = "<Owner><ID>tester</ID></Owner>"
            self.answer_xml("ListAllMyBucketsResult", f"{owner}<Buckets>{names}</Buckets>")
            return
        if self.bucket not in self.store.buckets:
            raise Refused(404, "NoSuchBucket")
        operation: Callable[[bytes], None]
        if not self.key:
            operation = {
                "GET": self.list_objects,
                "HEAD": lambda _: self.answer(),
                "POST": self.delete_objects,
            }[self.command]
        else:
            operation = getattr(self, f"{self.command.lower()}_object")
        operation(body)

    @property
    def objects(self) -> dict[str, Stored]:
        return self.store.buckets[self.bucket]

    def find(self) -> Stored:
        if self.key not in self.objects:
            raise Refused(404, "NoSuchKey")
        return self.objects[self.key]

    def head_object(self, _: bytes) -> None:
        stored = self.find()
        self.answer(200, b"", self.about(stored) | {"Content-Length": str(len(stored.data))})

    def about(self, stored: Stored) -> dict[str, str]:
        headers = {
            "ETag": f'"{stored.etag}"',
            "Last-Modified": formatdate(stored.mtime, usegmt=True),
        }
        if stored.appendable:
            headers["x-obs-object-type"] = "Appendable"
            headers["x-obs-next-append-position"] = str(len(stored.data))
        if self.headers.get("x-amz-checksum-mode") == "ENABLED" and "-" in stored.etag:
            checksum = zlib.crc32(stored.data).to_bytes(4, "big")
            headers["x-amz-checksum-crc32"] = base64.b64encode(checksum).decode()
            headers["x-amz-checksum-type"] = "FULL_OBJECT"
        return headers

    def get_object(self, _: bytes) -> None:
        stored = self.find()
        wanted = self.headers.get("If-Match", "").strip('"')
        if wanted and wanted != stored.etag:
            raise Refused(412, "PreconditionFailed")
        headers = self.about(stored)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None or (self.fault and self.fault.kind == "whole"):
            self.answer(200, stored.data, headers)
            return
        size = len(stored.data)
        first, last = int(asked[1]), min(int(asked[2] or size), size - 1)
        if first >= size or last < first:
            raise Refused(416, "InvalidRange")
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        self.answer(206, stored.data[first : last + 1], headers)

    def put_object(self, body: bytes) -> None:
        source = self.headers.get(self.prefix + "copy-source")
        if source:
            body = self.copy_source(unquote(source).lstrip("/"))
        if "uploadId" in self.query:
            number = int(self.query["partNumber"])
            self.upload()[number] = body
            etag = hashlib.md5(body).hexdigest()
        else:
            wanted = self.headers.get("If-Match", "").strip('"')
            old = self.objects.get(self.key)
            if (wanted and (old is None or old.etag != wanted)) or (
                old is not None and self.headers.get("If-None-Match") == "*"
            ):
                raise Refused(412, "PreconditionFailed")
            etag = hashlib.md5(body).hexdigest()
            self.objects[self.key] = Stored(body, etag, time.time())
        if source:
            tag = "CopyPartResult" if "uploadId" in self.query else "CopyObjectResult"
            self.answer_xml(tag, f"<ETag>&quot;{etag}&quot;</ETag>")
        else:
            self.answer(200, b"", {"ETag": f'"{etag}"'})

    def copy_source(self, source: str) -> bytes:
        bucket, _, key = source.partition("/")
        stored = self.store.buckets.get(bucket, {}).get(key)
        if stored is None:
            raise Refused(404, "NoSuchKey")
        wanted = self.headers.get(self.prefix + "copy-source-if-match", "").strip('"')
        if wanted and wanted != stored.etag:
            raise Refused(412, "PreconditionFailed")
        asked = re.fullmatch(
            r"bytes=(\d+)-(\d+)", self.headers.get(self.prefix + "copy-source-range", "")
        )
        return stored.data[int(asked[1]) : int(asked[2]) + 1] if asked else stored.data

    def upload(self) -> dict[int, bytes]:
        upload = self.store.uploads.get(self.query["uploadId"])
        if upload is None or upload[:2] != (self.bucket, self.key):
            raise Refused(404, "NoSuchUpload")
        return upload[2]

    def post_object(self, body: bytes) -> None:
        if "uploads" in self.query:
            name = uuid.uuid4().hex
            self.store.uploads[name] = (self.bucket, self.key, {})
            self.answer_xml("InitiateMultipartUploadResult", f"<UploadId>{name}</UploadId>")
        elif "uploadId" in self.query:
            self.complete(body)
        elif "append" in self.query and self.prefix == "x-obs-":
            self.append(body)
        else:
            raise Refused(405, "MethodNotAllowed")

    def complete(self, body: bytes) -> None:
        parts = self.upload()
        named = []
        for part in ElementTree.fromstring(body).iter():
            if part.tag.endswith("PartNumber"):
                named.append(int(part.text or 0))
        if named != sorted(set(named)) or not set(named) <= set(parts):
            raise Refused(400, "InvalidPart")
        if any(len(parts[n]) < MIN_PART for n in named[:-1]):
            raise Refused(400, "EntityTooSmall")
        digests = b"".join(hashlib.md5(parts[n]).digest() for n in named)
        etag = f"{hashlib.md5(digests).hexdigest()}-{len(named)}"
        self.objects[self.key] = Stored(b"".join(parts[n] for n in named), etag, time.time())
        del self.store.uploads[self.query["uploadId"]]
        self.answer_xml("CompleteMultipartUploadResult", f"<ETag>&quot;{etag}&quot;</ETag>")

    def append(self, body: bytes) -> None:
        old = self.objects.get(self.key)
        position = int(self.query["position"])
        if old is not None and not old.appendable:
            raise Refused(409, "ObjectNotAppendable")
        data = old.data if old else b""
        if position != len(data):
            raise Refused(409, "PositionNotEqualToLength")
        data += body
        self.objects[self.key] = Stored(data, hashlib.md5(data).hexdigest(), time.time(), True)
        following = {"x-obs-next-append-position": str(len(data))}
        self.answer(200, b"", following | {"ETag": f'"{hashlib.md5(data).hexdigest()}"'})

    def delete_object(self, _: bytes) -> None:
        if "uploadId" in self.query:
            self.upload()
            del self.store.uploads[self.query["uploadId"]]
        else:
            self.objects.pop(self.key, None)
            self.store.deleted = True
            self.store.changed.notify_all()
        self.answer(204)

    def delete_objects(self, body: bytes) -> None:
        if not self.headers.get("Content-MD5") and self.prefix == "x-obs-":
            raise Refused(400, "InvalidRequest")
        keys = [e.text or "" for e in ElementTree.fromstring(body).iter() if e.tag.endswith("Key")]
        errors = ""
        for key in keys:
            if "forbidden" in key:
                errors += f"<Error><Key>{escape(key)}</Key><Code>AccessDenied</Code></Error>"
            else:
                self.objects.pop(key, None)
        self.store.deleted = True
        self.store.changed.notify_all()
        self.answer_xml("DeleteResult", errors)

    def list_objects(self, _: bytes) -> None:
        query = self.query
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        limit = min(int(query.get("max-keys", "1000")), 1000)
        version2 = query.get("list-type") == "2"
        after = query.get("continuation-token" if version2 else "marker", "")
        encode = quote if query.get("encoding-type") == "url" else escape
        inner, count, last, truncated, seen = "", 0, "", False, ""
        keys = sorted((k for k in self.objects if k.startswith(prefix)), key=str.encode)
        if self.store.shifting:
            self.list_by_position(keys, int(after or 0))
            return
        for key in keys:
            stop = key.find(delimiter, len(prefix)) if delimiter else -1
            group = key[: stop + len(delimiter)] if stop >= 0 else ""
            name = group or key
            if name.encode() <= after.encode() or (group and group == seen):
                continue
            if count == limit:
                truncated = True
                break
            count, last, seen = count + 1, name, group
            if group:
                inner += f"<CommonPrefixes><Prefix>{encode(group)}</Prefix></CommonPrefixes>"
            else:
                inner += contents(key, self.objects[key], encode)
        inner += f"<IsTruncated>{str(truncated).lower()}</IsTruncated>"
        if "encoding-type" in query:
            inner += "<EncodingType>url</EncodingType>"
        if truncated and version2:
            inner += f"<NextContinuationToken>{escape(last)}</NextContinuationToken>"
        elif truncated and delimiter:
            inner += f"<NextMarker>{encode(last)}</NextMarker>"
        self.answer_xml("ListBucketResult", inner)

    def list_by_position(self, keys: list[str], start: int) -> None:
        if start:
            self.store.changed.wait_for(lambda: self.store.deleted, timeout=30)
            keys = [key for key in keys if key in self.objects]
        inner = "".join(contents(key, self.objects[key], quote) for key in keys[start:][:1000])
        truncated = len(keys) > start + 1000
        inner += f"<IsTruncated>{str(truncated).lower()}</IsTruncated>"
        if truncated:
            inner += f"<NextContinuationToken>{start + 1000}</NextContinuationToken>"
        self.answer_xml("ListBucketResult", inner + "<EncodingType>url</EncodingType>")


def contents(key: str, stored: Stored, encode: Callable[[str], str]) -> str:
    when = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(stored.mtime))
    return (
        f"<Contents><Key>{encode(key)}</Key><LastModified>{when}</LastModified>"
        f"<ETag>&quot;{stored.etag}&quot;</ETag><Size>{len(stored.data)}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
    )


def error_xml(code: str, message: str) -> bytes:
    return (
        f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    ).encode()
