"""The data plane on the wire: what it sends, and what it makes of what comes back."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable

import pytest
from servers.scripted import ScriptedServer, Unsigned

from mox_core.storage.driver import FileSlice
from mox_core.storage.http.client import Answer, Client, WireError
from mox_core.storage.http.connection import ProtocolError, ShortBodyError, SourceChangedError
from mox_core.storage.http.request import Endpoint, Request
from mox_core.testing.storage_tiers.contents import same


@pytest.fixture
def server():
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def client(server):
    made = make_client(server.port)
    yield made
    made.close()


def make_client(port: int, *, read_timeout: float = 20.0) -> Client:
    endpoint = Endpoint("127.0.0.1", port, connect_timeout=5, read_timeout=read_timeout)
    return Client(endpoint, Unsigned())


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


GET = Request("GET", "b", "k")


def fetched(
    client: Client, request: Request = GET, write: Callable[[bytes], object] = lambda _: None
) -> bytes:
    """The content of an object, every piece of which is also given to `write`."""
    pieces: list[bytes] = []
    with client.send(request) as answer:
        for piece in answer.pieces(answer.promised()):
            pieces.append(bytes(piece))
            write(pieces[-1])
    return b"".join(pieces)


def read(answer: Answer) -> bytes:
    with answer:
        answer.read()
    return answer.body


def reason(client: Client, request: Request = GET) -> OSError:
    with pytest.raises(WireError) as caught:
        client.exchange(request)
    return caught.value.reason


class TestSending:
    def test_a_body_and_its_length(self, server, client):
        server.script(answer(b""))
        client.exchange(Request("PUT", "b", "k k", headers={"x-amz-a": "1"}, body=b"hello"))
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        assert head.splitlines()[0] == b"PUT /b/k%20k HTTP/1.1"
        assert b"content-length: 5" in head and b"x-amz-a: 1" in head
        assert body == b"hello"

    def test_a_line_break_in_a_header_is_never_sent(self, server, client):
        with pytest.raises(ValueError, match="line break"):
            client.exchange(Request("GET", "b", "k", headers={"x-amz-a": "1\r\nevil: 2"}))
        assert server.requests == []

    def test_a_file_that_shrank_is_an_error(self, tmp_path, server, client):
        file = tmp_path / "f"
        file.write_bytes(b"x" * 1000)
        with file.open("rb") as opened, pytest.raises(SourceChangedError, match="shrank to 1000"):
            client.exchange(Request("PUT", "b", "k", body=FileSlice(opened.fileno(), 0, 2000)))

    def test_the_answer_to_a_body_that_nobody_reads(self):
        """A server that refuses at once and closes: its answer counts, not the broken pipe."""
        listener = socket.create_server(("127.0.0.1", 0))

        def refuse() -> None:
            connection, _ = listener.accept()
            connection.recv(100)
            connection.sendall(answer(b"no", status="403 Forbidden"))
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 20):  # a graceful server drains before it closes
                pass
            connection.close()

        thread = threading.Thread(target=refuse)
        thread.start()
        client = make_client(listener.getsockname()[1])
        reply = client.exchange(Request("PUT", "b", "k", body=bytes(8 << 20)))
        client.close()
        thread.join(10)
        listener.close()
        assert (reply.status, reply.body) == (403, b"no")


class TestConnections:
    def test_one_connection_serves_many_requests(self, server, client):
        server.script(*[answer(b"%d" % n) for n in range(5)])
        assert [client.exchange(GET).body for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
        assert server.accepted == 1

    def test_a_connection_closed_while_idle_costs_nothing(self, server, client):
        server.script(answer(b"one"), b"", answer(b"two"))
        assert client.exchange(GET).body == b"one"
        assert client.exchange(GET).body == b"two"
        assert server.accepted == 2

    def test_what_must_not_be_sent_twice_gets_a_fresh_connection(self, server, client):
        server.script(answer(b"one"), b"")
        client.exchange(GET)
        client_request = Request("POST", "b", "k", body=b"x", idempotent=False)
        assert isinstance(reason(client, client_request), ShortBodyError)
        assert len(server.requests) == 2 and server.accepted == 2

    def test_connection_close_is_obeyed(self, server, client):
        server.script(answer(b"one", "Connection: close"), answer(b"two"))
        client.exchange(GET)
        client.exchange(GET)
        assert server.accepted == 2

    def test_surplus_bytes_do_not_become_the_next_answer(self, server, client):
        server.script([answer(b"one") + answer(b"evil")], answer(b"two"))
        assert client.exchange(GET).body == b"one"
        assert client.exchange(GET).body == b"two"

    def test_interrupt_ends_a_wait_at_once(self, server, client):
        server.script([b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"])
        began = threading.Event()
        failed: list[BaseException] = []

        def run() -> None:
            try:
                with client.send(GET) as answer:
                    began.set()
                    answer.read()
            except WireError as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        assert began.wait(10)
        client.interrupt()
        thread.join(10)
        assert not thread.is_alive() and failed

    def test_an_interrupt_at_the_end_of_an_answer_spoils_no_later_request(self, server, client):
        """What cleans up after an interrupt may get the connection that was just given back."""
        server.script(answer(b"abc"), answer(b"def"))
        fetched(client, write=lambda _: client.interrupt())
        assert client.exchange(GET).body == b"def"

    def test_a_request_sent_ahead_is_answered_later(self, server, client):
        server.script(answer(b"one"), answer(b"two"))
        ahead = client.send(GET)
        assert client.exchange(GET).body in (b"one", b"two")
        assert read(ahead) in (b"one", b"two")
        assert server.accepted == 2

    def test_a_request_sent_ahead_may_be_dropped(self, server, client):
        server.script(answer(b"one"), answer(b"two"))
        client.send(GET).close()
        assert client.exchange(GET).body in (b"one", b"two")

    def test_a_request_sent_ahead_is_sent_again_when_its_connection_was_lost(self, server, client):
        server.script(answer(b"one"), [b""], answer(b"two"))
        client.exchange(GET)
        assert read(client.send(GET)) == b"two"

    def test_a_silent_server_is_a_timeout(self, server):
        client = make_client(server.port, read_timeout=0.2)
        server.script([b"HTTP/1.1 200 OK\r\n"])
        assert isinstance(reason(client), TimeoutError)
        client.close()

    def test_64_threads_share_a_client(self, object_store):
        client = make_client(object_store.port)
        bad: list[object] = []

        def run(number: int) -> None:
            for turn in range(5):
                text = client.exchange(Request("GET", f"none{number}", f"k{turn}")).body
                if b"AccessDenied" not in text:
                    bad.append(text)

        threads = [threading.Thread(target=run, args=(n,)) for n in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        client.close()
        assert not bad
        assert sum(path.startswith("/none") for _, path in object_store.requests) == 320


class TestAnswers:
    def test_a_body_longer_than_the_buffer(self, server, client):
        body = os.urandom(700_001)
        server.script([answer(body)[:100], answer(body)[100:300_000], answer(body)[300_000:]])
        same(fetched(client), body)

    def test_chunks(self, server, client):
        body = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunks = b"5;x=y\r\nhello\r\n0A\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n"
        server.script([body, *[chunks[n : n + 1] for n in range(len(chunks))]], answer(b"next"))
        assert client.exchange(GET).body == b"hello0123456789"
        assert client.exchange(GET).body == b"next"
        assert server.accepted == 1

    def test_interim_answers_are_skipped(self, server, client):
        server.script(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Wait\r\n\r\n" + answer(b"x"))
        assert client.exchange(GET).body == b"x"

    def test_an_answer_to_head_has_no_body(self, server, client):
        server.script(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", answer(b"x"))
        assert client.exchange(Request("HEAD", "b", "k")).headers["content-length"] == "99"
        assert client.exchange(GET).body == b"x"

    @pytest.mark.parametrize(
        "text",
        [
            b"HTTP/2 200 OK\r\n\r\n",
            b"SSH-2.0-OpenSSH\r\n\r\n",
            b"HTTP/1.1 999999 X\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
            b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\na body that ends with the connection",
            b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: a\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloworld\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n" * 20,
        ],
    )
    def test_what_is_not_http_is_refused(self, server, client, text):
        server.script(text)
        assert isinstance(reason(client), ProtocolError)

    @pytest.mark.parametrize("version", [b"1.0", b"1.1"])
    def test_a_refusal_without_a_length_is_one_all_the_same(self, server, client, version):
        server.script(b"HTTP/%s 503 Busy\r\n\r\nsorry" % version, answer(b"x"))
        assert client.exchange(GET).status == 503
        assert client.exchange(GET).body == b"x"
        assert server.accepted == 2

    @pytest.mark.parametrize(
        "text",
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nContent-Le",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        ],
    )
    def test_an_answer_that_ends_early_is_noticed(self, server, client, text):
        server.script([text, b""])
        assert isinstance(reason(client), ShortBodyError)

    def test_every_byte_before_a_cut_is_delivered(self, server, client):
        server.script([b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\na", b"bc", b""])
        got: list[bytes] = []
        with pytest.raises(WireError):
            fetched(client, write=got.append)
        assert b"".join(got) == b"abc"

    @pytest.mark.parametrize(
        ("asked", "status", "header", "body"),
        [
            ("bytes=5-9", "200 OK", "X: y", b"0123456789"),
            ("bytes=5-9", "206 Partial", "Content-Range: bytes 0-4/10", b"01234"),
            ("bytes=5-9", "206 Partial", "Content-Range: bytes 5-10/11", b"567890"),
            ("bytes=5-9", "206 Partial", "X: y", b"56789"),
            ("bytes=5-", "206 Partial", "Content-Range: bytes 5-3/10", b""),
            ("bytes=5-9", "200 OK", "Content-Range: bytes 0-4/10", b"01234"),
            (None, "206 Partial", "Content-Range: bytes 0-4/10", b"01234"),
            (None, "200 OK", "Content-Range: bytes 0-4/10", b"01234"),
        ],
    )
    def test_another_range_than_asked_is_refused(self, server, client, asked, status, header, body):
        server.script(answer(body, header, status=status))
        headers = {"range": asked} if asked else {}
        with pytest.raises(WireError) as caught:
            fetched(client, Request("GET", "b", "k", headers=headers))
        assert isinstance(caught.value.reason, ProtocolError)

    @pytest.mark.parametrize("status", ["206 Partial", "200 OK"])
    def test_a_range_is_known_by_its_header(self, server, client, status):
        """rclone answers 200 to a part, too."""
        server.script(answer(b"567", "Content-Range: bytes 5-7/10", status=status))
        asked = Request("GET", "b", "k", headers={"range": "bytes=5-7"})
        assert fetched(client, asked) == b"567"

    def test_a_range_that_is_longer_than_promised_is_refused(self, server, client):
        server.script(answer(b"567", "Content-Range: bytes 5-6/10", status="206 P"))
        with pytest.raises(WireError):
            fetched(client, Request("GET", "b", "k", headers={"range": "bytes=5-6"}))

    def test_an_error_of_the_sink_is_not_one_of_the_wire(self, server, client):
        server.script(answer(b"hello"), answer(b"next"))

        def full(_: bytes) -> None:
            raise OSError(28, "No space left on device")

        with pytest.raises(OSError, match="No space left"):
            fetched(client, write=full)
        assert client.exchange(GET).body == b"next"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    trustme = pytest.importorskip("trustme")
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path_factory.mktemp("ca") / "ca.pem")
    return made


class TestTls:
    @pytest.fixture
    def served(self, authority):
        from servers.object_store import ObjectStore

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        with ObjectStore(tls=context) as store:
            yield store

    @staticmethod
    def driver(store, **more):
        from servers.object_store import ACCESS_KEY, SECRET_KEY

        from mox_core.storage.auth import Settings
        from mox_storage_s3.driver import make_driver

        server = more.pop("server", "127.0.0.1")
        return make_driver(
            "s3", Settings(ak=ACCESS_KEY, sk=SECRET_KEY, server=server, port=store.port, **more)
        )

    def test_a_trusted_server(self, served, authority, tmp_path, sink):
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        driver = self.driver(served, ssl_verify=str(tmp_path / "ca.pem"))
        body = os.urandom(3 << 20)
        (tmp_path / "f").write_bytes(body)
        with (tmp_path / "f").open("rb") as file:
            driver.put("bucket/k", FileSlice(file.fileno(), 0, len(body)))
        driver.fetch("bucket/k", sink)
        same(sink.data, body)
        assert served.connections == 1
        driver.close()

    def test_an_unknown_authority_is_refused_with_advice(self, served):
        from mox_core.storage.errors import MoxFileRespException, TransientError

        with pytest.raises(MoxFileRespException, match="ssl_verify") as caught:
            self.driver(served).stat("bucket/k")
        assert not isinstance(caught.value, TransientError)
        assert served.requests == []

    def test_another_host_name_is_refused(self, served, authority, tmp_path, localhost_names):
        from mox_core.storage.errors import MoxFileRespException

        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        driver = self.driver(served, server="other.localhost", ssl_verify=str(tmp_path / "ca.pem"))
        with pytest.raises(MoxFileRespException, match="trusted|no TLS connection"):
            driver.stat("bucket/k")
        assert served.requests == []

    def test_checks_can_be_switched_off(self, served):
        driver = self.driver(served, ssl_verify=False)
        driver.put("bucket/k", b"x")
        assert served.get("k") == b"x"
        driver.close()

    def test_plain_http_where_tls_is_expected(self, object_store):
        from mox_core.storage.errors import MoxFileRespException

        with pytest.raises(MoxFileRespException, match="is_secure=False"):
            self.driver(object_store).stat("bucket/k")
