"""The XML of object stores, read and written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache, partial
from itertools import repeat
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_plus

from mox_core.storage.driver import ObjectInfo

from .connection import ProtocolError
from .times import day_seconds

if TYPE_CHECKING:
    from xml.etree import ElementTree

__all__ = [
    "Listing",
    "complete_body",
    "delete_body",
    "next_token",
    "parse",
    "parse_listing",
]

_QUOTES = ("&quot;", '"', "&#34;", "")
_NEXT = re.compile(rb"<NextContinuationToken>([^<&]+)</NextContinuationToken>")
_NEW_INFO = partial(tuple.__new__, ObjectInfo)  # without the function around it
_MINUTE = re.compile(r"(\d{4})-(\d\d)-(\d\d)T([01]\d|2[0-3]):([0-5]\d):")
_SECOND = re.compile(r"([0-5]\d|60)(?:\.(\d{1,9}))?(?:Z|\+00:00)?")
_ENTITIES = {ord(c): f"&#{ord(c)};" for c in "&<>\r\n\t"}
_SPECIAL = re.compile(r"[&<>\r\n\t]")
_URL_ENCODED = "<EncodingType>url</EncodingType>"


class Listing(NamedTuple):
    """One page of a listing.

    Attributes:
        entries: Objects, then common prefixes, in the order of the server.
        next: Where the next page begins, or '' on the last one.
    """

    entries: Sequence[ObjectInfo]
    next: str


def parse(body: bytes) -> ElementTree.Element:
    """The root element, with the namespaces taken off all tags.

    Raises:
        ProtocolError: It is not XML, or XML that no object store sends.
    """
    from xml.etree import ElementTree  # here, because most answers need no parser

    if b"<!" in body:  # no DTD: entities could expand without bound
        raise ProtocolError("the answer holds an XML declaration that is not allowed here")
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        raise ProtocolError(f"the answer is not well-formed XML: {error}") from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def parse_listing(body: bytes, *, bucket: str) -> Listing:
    """Read a page of ListObjects (either version).

    Args:
        body: The XML.
        bucket: Put in front of every key.

    Raises:
        ProtocolError: It is not a whole listing.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError(f"the listing is not UTF-8: {error}") from None
    if text.rstrip().endswith("</ListBucketResult>"):
        head, entries = _fast_entries(text, f"{bucket}/")
        if entries is not None and _URL_ENCODED in head:
            following = _plain_next(head)
            if following is not None:
                return Listing(entries, following)
            return _with_prefixes(parse(head.encode()), entries, bucket)
    root = parse(body)
    if root.tag != "ListBucketResult":
        raise ProtocolError(f"the answer is no listing but <{root.tag[:40]}>")
    return _with_prefixes(root, _slow_entries(root, bucket), bucket)


def _fast_entries(text: str, base: str) -> tuple[str, list[ObjectInfo] | None]:
    """The objects by one regular expression, ten times faster than a parser.

    Returns:
        The document without the objects, and the objects, or None when some of them are not
        written as all servers known write them: then a parser has to look.
    """
    start = text.find("<Contents>")
    if start < 0:
        return text, []
    stop = text.rfind("</Contents>") + len("</Contents>")
    middle = text[start:stop]
    quote = next(quote for quote in _QUOTES if f"<ETag>{quote}" in middle or not quote)
    found = _objects(quote).findall(middle)
    if len(found) != middle.count("<Contents>") or "<CommonPrefixes>" in middle:
        return text, None
    keys, times, etags, sizes = zip(*found, strict=True)
    if "%" in middle or "+" in middle:
        paths = [base + (unquote_plus(key) if "%" in key or "+" in key else key) for key in keys]
    else:
        paths = [base + key for key in keys]
    known = {time: _time_ns(time) for time in {*times}}
    stamps = map(known.__getitem__, times)
    entries = map(_NEW_INFO, zip(paths, map(int, sizes), stamps, etags, repeat("")))
    return text[:start] + text[stop:], list(entries)


@cache
def _objects(quote: str) -> re.Pattern[str]:
    """Takes an object apart as all servers known write it, but for the quotes around its ETag."""
    return re.compile(
        "<Contents><Key>([^<&]*)</Key><LastModified>([^<]*)</LastModified>"
        f'<ETag>{quote}([^<"&]*){quote}</ETag>'
        r"(?:<Checksum\w+>[^<]*</Checksum\w+>)*<Size>([0-9]{1,18})</Size>"
    )


def next_token(body: bytes) -> str:
    """Where the next page of a listing begins, read before all else; empty when unsure."""
    found = _NEXT.search(body)
    return found[1].decode("latin-1") if found else ""


def _plain_next(head: str) -> str | None:
    """Where the next page begins, when that needs no parser: None where it does."""
    if "<CommonPrefixes>" in head or "<!" in head or "&" in head:
        return None
    if "<IsTruncated>true</IsTruncated>" not in head:
        return "" if "<IsTruncated>false</IsTruncated>" in head else None
    return next_token(head.encode()) or None


def _slow_entries(root: ElementTree.Element, bucket: str) -> list[ObjectInfo]:
    decode = unquote_plus if root.findtext("EncodingType") == "url" else str
    entries = []
    for element in root.iter("Contents"):
        key = element.findtext("Key")
        size = element.findtext("Size", "")
        if key is None or not size.isascii() or not size.isdigit():
            raise ProtocolError("an object of the listing lacks its key or size")
        time = _time_ns(element.findtext("LastModified", ""))
        etag = element.findtext("ETag", "").strip('"')
        entries.append(ObjectInfo(f"{bucket}/{decode(key)}", int(size), time, etag))
    return entries


def _with_prefixes(root: ElementTree.Element, entries: list[ObjectInfo], bucket: str) -> Listing:
    decode = unquote_plus if root.findtext("EncodingType") == "url" else str
    for element in root.iter("CommonPrefixes"):
        for prefix in element.iter("Prefix"):
            entries.append(ObjectInfo(f"{bucket}/{decode(prefix.text or '')}"))
    if root.findtext("IsTruncated", "false").strip() != "true":
        return Listing(entries, "")
    token = root.findtext("NextContinuationToken")
    if token is None:
        marker = root.findtext("NextMarker")
        token = decode(marker) if marker else max((e.path for e in entries), default="")
        token = token if marker else token.partition("/")[2]
    if not token:
        raise ProtocolError("the listing goes on, but does not say where")
    return Listing(entries, token)


def _time_ns(text: str) -> int:
    """Nanoseconds of an ISO 8601 time in UTC, 0 when it is not one."""
    minute, second = _minute(text[:17]), _second(text[17:])
    return 0 if minute is None or second is None else minute + second


@lru_cache(maxsize=4096)
def _minute(text: str) -> int | None:
    """Nanoseconds of `2026-11-20T10:11:`; objects that are listed together share some."""
    found = _MINUTE.fullmatch(text)
    if found is None:
        return None
    day = day_seconds(int(found[1]), int(found[2]), int(found[3]))
    if day is None:
        return None
    return (day + int(found[4]) * 3600 + int(found[5]) * 60) * 1_000_000_000


@lru_cache(maxsize=4096)
def _second(text: str) -> int | None:
    """Nanoseconds of `12.345Z`."""
    found = _SECOND.fullmatch(text)
    return int(found[1] + (found[2] or "").ljust(9, "0")) if found else None


def delete_body(keys: Sequence[str]) -> bytes:
    """The body of DeleteObjects; the answer will name only failures."""
    if _SPECIAL.search("".join(keys)):
        keys = [_escape(key) for key in keys]
    objects = "</Key></Object><Object><Key>".join(keys)
    objects = f"<Object><Key>{objects}</Key></Object>"
    return f"<Delete><Quiet>true</Quiet>{objects}</Delete>".encode()


def complete_body(etags: Iterable[str]) -> bytes:
    """The body of CompleteMultipartUpload."""
    parts = "".join(
        f'<Part><PartNumber>{number}</PartNumber><ETag>"{_escape(etag)}"</ETag></Part>'
        for number, etag in enumerate(etags, 1)
    )
    return f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()


def _escape(text: str) -> str:
    # xml.sax.saxutils has this too, but brings urllib.request and http.client along.
    return text.translate(_ENTITIES)
