"""Reading the XML of object stores."""

from __future__ import annotations

import time
from urllib.parse import quote
from xml.sax.saxutils import escape

import pytest

from mox_core.storage.driver import ObjectInfo
from mox_core.storage.http.connection import ProtocolError
from mox_core.storage.http.replies import (
    complete_body,
    delete_body,
    parse,
    parse_listing,
)
from mox_core.storage.http.times import http_date, http_time_ns

SECOND = 1_000_000_000


def entry(key: str, *, size: str = "3", extra: str = "") -> str:
    return (
        f"<Contents><Key>{key}</Key><LastModified>2026-11-20T10:11:12.345Z</LastModified>"
        f"<ETag>&quot;abc&quot;</ETag><Size>{size}</Size>{extra}</Contents>"
    )


def page(inner: str, *, url: bool = True, namespace: str = "") -> bytes:
    encoding = "<EncodingType>url</EncodingType>" if url else ""
    return f"<ListBucketResult{namespace}>{encoding}{inner}</ListBucketResult>".encode()


def paths(body: bytes) -> list[str]:
    return [info.path for info in parse_listing(body, bucket="b").entries]


def test_an_object():
    found = parse_listing(page(entry("a%2Fb+c%2B")), bucket="b").entries
    when = 1_795_169_472 * SECOND + 345_000_000
    assert found == [ObjectInfo("b/a/b c+", 3, when, "abc")]
    assert time.gmtime(when // SECOND)[:6] == (2026, 11, 20, 10, 11, 12)


def test_without_url_encoding_entities_are_decoded():
    assert paths(page(entry("a&amp;b%41+&#10;"), url=False)) == ["b/a&b%41+\n"]


def test_entities_in_a_key_that_is_url_encoded():
    """Ceph leaves quotes to XML."""
    assert paths(page(entry("plain") + entry("it&apos;s%26+%2B"))) == ["b/plain", "b/it's& +"]


def test_a_namespace_and_fields_in_another_order():
    odd = "<Contents><Size>7</Size><ETag>x</ETag><Key>k</Key></Contents>"
    namespace = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
    assert paths(page(entry("a") + odd, namespace=namespace)) == ["b/a", "b/k"]


def test_a_missing_field_never_shifts_the_others():
    no_size = "<Contents><Key>x</Key></Contents>"
    with pytest.raises(ProtocolError):
        parse_listing(page(entry("a") + no_size + entry("c", size="9")), bucket="b")
    no_etag = "<Contents><Key>x</Key><Size>5</Size></Contents>"
    found = parse_listing(page(entry("a") + no_etag + entry("c", size="9")), bucket="b").entries
    assert [(info.path, info.size) for info in found] == [("b/a", 3), ("b/x", 5), ("b/c", 9)]


def test_an_owner_does_not_confuse():
    owner = "<Owner><ID>1</ID><DisplayName>me</DisplayName></Owner>"
    assert paths(page(entry("a", extra=owner))) == ["b/a"]


@pytest.mark.parametrize("before", [True, False])
def test_common_prefixes_are_directories(before):
    prefixes = "<CommonPrefixes><Prefix>d+1/</Prefix></CommonPrefixes>"
    inner = prefixes + entry("a") if before else entry("a") + prefixes + entry("z")
    found = parse_listing(page(inner), bucket="b").entries
    assert ObjectInfo("b/d 1/") in found
    assert {info.path for info in found} >= {"b/a", "b/d 1/"}


def test_where_the_next_page_begins():
    more = "<IsTruncated>true</IsTruncated>"
    token = "<NextContinuationToken>t&amp;1</NextContinuationToken>"
    assert parse_listing(page(more + token), bucket="b").next == "t&1"
    marker = "<NextMarker>a+b</NextMarker>"
    assert parse_listing(page(more + marker), bucket="b").next == "a b"
    assert parse_listing(page(more + entry("a") + entry("c+d")), bucket="b").next == "c d"
    assert parse_listing(page(token + entry("a")), bucket="b").next == ""


def test_a_page_that_goes_on_nowhere_is_an_error():
    with pytest.raises(ProtocolError, match="where"):
        parse_listing(page("<IsTruncated>true</IsTruncated>"), bucket="b")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not xml",
        page(entry("a"))[:-5],
        page(entry("a"))[:60],
        b"\xff\xfe",
        b"<Error><Code>X</Code></Error>",
        page(entry("a", size="-1")),
        page(entry("a", size="x")),
        page(entry("\x01"), url=False),
        b'<!DOCTYPE a [<!ENTITY x "y">]><ListBucketResult/>',
    ],
)
def test_what_is_no_listing_is_refused(body):
    with pytest.raises(ProtocolError):
        parse_listing(body, bucket="b")


def test_20000_keys_are_read_quickly_enough_to_go_the_fast_way(monkeypatch):
    """The fast way must be taken for what real servers send: the slow one is made to fail."""
    from mox_core.storage.http import replies

    def never(*_: object) -> None:
        raise AssertionError("a plain page went to the slow parser")

    monkeypatch.setattr(replies, "_parsed_page", never)
    body = page("".join(entry(quote(f"dir/{n}")) for n in range(1000)))
    assert len(parse_listing(body, bucket="b").entries) == 1000
    owner = "<StorageClass>STANDARD</StorageClass><Owner><ID>1</ID></Owner>"
    assert paths(page(entry("a", extra=owner))) == ["b/a"]


@pytest.mark.parametrize("key", ["a", "a&b<c>", 'q"q', "line\nbreak\r\ttab", "ü日😀", " x "])
def test_a_delete_names_its_keys_exactly(key):
    root = parse(delete_body([key, "other"]))
    assert [e.text for e in root.iter("Key")] == [key, "other"]
    assert root.findtext("Quiet") == "true"


def test_a_completion_names_its_parts():
    root = parse(complete_body(["e1", "e2"]))
    numbers = [e.text for e in root.iter("PartNumber")]
    assert (numbers, [e.text for e in root.iter("ETag")]) == (["1", "2"], ['"e1"', '"e2"'])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Fri, 20 Nov 2026 10:11:12 GMT", 1_795_169_472),
        ("Sun, 25 Oct 2026 00:30:00 GMT", 1_792_888_200),  # within a change of summer time
        ("", 0),
        ("yesterday", 0),
        ("Fri, 99 Nov 2026 10:11:12 GMT", 0),
    ],
)
def test_http_times(text, seconds):
    assert http_time_ns(text) == seconds * SECOND


@pytest.mark.parametrize("seconds", [0, 951_782_400, 1_792_888_200, 4_102_444_799])
def test_http_dates_come_back(seconds):
    from email.utils import formatdate

    assert http_date(seconds) == formatdate(seconds, usegmt=True)
    assert http_time_ns(http_date(seconds)) == seconds * SECOND


def test_escaping_agrees_with_a_parser():
    assert parse(f"<a>{escape('<&>')}</a>".encode()).text == "<&>"
