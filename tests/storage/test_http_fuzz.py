"""Whatever a server sends, the data plane ends with an answer or with its own error."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import quote_plus

import pytest

pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers.scripted import ScriptedServer, Unsigned

from mox_core.storage.http.client import Client, WireError
from mox_core.storage.http.connection import ProtocolError
from mox_core.storage.http.replies import parse, parse_listing
from mox_core.storage.http.request import Endpoint, Request

FUZZ = settings(
    max_examples=150,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

GOOD = b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "x"\r\n\r\nhello'
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
PARTIAL = (
    b"HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\nContent-Range: bytes 2-6/10\r\n\r\nhello"
)


@pytest.fixture(scope="module")
def server():
    with ScriptedServer() as running:
        yield running


def ask(server: ScriptedServer, reply: bytes, request: Request) -> tuple[int, bytes] | None:
    """The answer, or None for the data plane's own error; anything else is a defect."""
    server.script([reply, b""])
    client = Client(
        Endpoint("127.0.0.1", server.port, connect_timeout=5, read_timeout=5), Unsigned()
    )
    try:
        with client.send(request) as answer:
            if answer.status in (200, 206):
                pieces = answer.pieces(answer.promised())
                return answer.status, b"".join([bytes(piece) for piece in pieces])
            answer.read()
    except WireError:
        return None
    finally:
        client.close()
    return answer.status, answer.body


mutations = st.lists(
    st.tuples(
        st.integers(0, 200),
        st.sampled_from(["replace", "insert", "delete", "cut"]),
        st.binary(min_size=1, max_size=8),
    ),
    max_size=4,
)


def mutate(data: bytes, changes: list[tuple[int, str, bytes]]) -> bytes:
    for at, how, new in changes:
        at %= len(data) + 1
        if how == "replace":
            data = data[:at] + new + data[at + len(new) :]
        elif how == "insert":
            data = data[:at] + new + data[at:]
        elif how == "delete":
            data = data[:at] + data[at + len(new) :]
        else:
            data = data[:at]
    return data or b"x"


@FUZZ
@given(st.binary(min_size=1, max_size=400))
def test_noise(server, noise):
    ask(server, noise, Request("GET", "b", "k"))


@FUZZ
@given(st.sampled_from([GOOD, CHUNKED]), mutations)
def test_a_damaged_answer(server, good, changes):
    ask(server, mutate(good, changes), Request("GET", "b", "k"))


@FUZZ
@given(mutations)
def test_a_damaged_range_is_never_other_bytes(server, changes):
    """An accepted 206 has as many bytes as its Content-Range says, from where it was asked."""
    reply = mutate(PARTIAL, changes)
    request = Request("GET", "b", "k", headers={"range": "bytes=2-6"})
    got = ask(server, reply, request)
    if got is not None and got[0] == 206:
        assert b"bytes 2-" in reply
        assert len(got[1]) <= 5


@FUZZ
@given(st.binary(max_size=2000), st.integers(0, 60))
def test_chunks_come_back_whole(server, data, step):
    step += 1
    chunks = b"".join(
        b"%x\r\n%s\r\n" % (len(data[at : at + step]), data[at : at + step])
        for at in range(0, len(data), step)
    )
    head = b"HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert ask(server, head + chunks + b"0\r\n\r\n", Request("GET", "b", "k")) == (400, data)


@FUZZ
@given(st.binary(max_size=400))
def test_noise_is_no_xml(noise):
    for read in (parse, lambda body: parse_listing(body, bucket="b")):
        with suppress(ProtocolError):
            read(noise)


keys = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)


@FUZZ
@given(st.lists(st.tuples(keys, st.integers(0, 2**60)), max_size=20), st.booleans(), mutations)
def test_listings_come_back_as_they_were(objects, odd_order, changes):
    inner = ""
    for key, size in objects:
        fields = [
            f"<Key>{quote_plus(key)}</Key>",
            f"<Size>{size}</Size>",
            "<ETag>&quot;e&quot;</ETag>",
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified>",
        ]
        inner += f"<Contents>{''.join(fields[::-1] if odd_order else fields)}</Contents>"
    text = f"<ListBucketResult><EncodingType>url</EncodingType>{inner}</ListBucketResult>"
    found = parse_listing(text.encode(), bucket="b").entries
    assert [(info.path[2:], info.size) for info in found] == objects
    with suppress(ProtocolError):
        parse_listing(mutate(text.encode(), changes), bucket="b")
