"""Networks and servers that fail: what a user of mox.file gets, and what is left behind."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from pathlib import Path

import pytest
from servers.object_store import ObjectStore

from mox_core.storage import api
from mox_core.storage.auth import Settings
from mox_core.storage.errors import (
    AccessDeniedError,
    CopyError,
    MoxFileReadException,
    MoxFileRespException,
    TransientError,
)
from mox_core.testing.storage_tiers.contents import same

pytest.importorskip("boto3")
pytest.importorskip("obs")

PART = 5 << 20
NOTHING_FAILED = b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n<DeleteResult/>"


@pytest.fixture(params=["s3", "obs"])
def scheme(request):
    return request.param


@pytest.fixture
def store(object_store: ObjectStore, store_settings: Settings, scheme: str, monkeypatch):
    """The server, and mox.file set up for it; large files are split from 20 MiB on."""
    from mox_core.storage import registry

    monkeypatch.setattr(registry.DRIVERS, "_settings", Settings())
    monkeypatch.setattr(registry.DRIVERS, "_drivers", {})
    monkeypatch.setenv("MOX_FILE_LARGE_FILE_PART_SIZE", str(PART))
    said = store_settings
    api.set_auth(
        ak=said.ak, sk=said.sk, server="127.0.0.1", port=said.port, is_secure=False, retry_wait=0.02
    )
    return object_store


@pytest.fixture
def url(scheme):
    return f"{scheme}://bucket"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A local file with old content, alone in its folder."""
    file = tmp_path / "folder" / "file"
    file.parent.mkdir()
    file.write_bytes(b"OLD")
    return file


def alone(file: Path) -> bool:
    return os.listdir(file.parent) == [file.name]


class TestDownload:
    def test_a_cut_is_resumed_at_its_offset(self, store, url, old):
        data = os.urandom(3_000_000)
        store.put("k", data)
        store.fail("cut", method="GET", match="/k", at=1_000_000)
        api.copy(f"{url}/k", str(old))
        same(old.read_bytes(), data)
        assert alone(old)
        assert [m for m, path in store.requests if m == "GET" and path.endswith("/k")] == [
            "GET"
        ] * 2

    @pytest.mark.parametrize("kind", ["cut", "stall"])
    def test_a_part_that_ends_early_is_resumed(self, store, url, old, kind):
        api.set_auth(client_timeout=2)
        data = os.urandom(4 * PART + 17)
        store.put("k", data)
        store.fail(kind, method="GET", match="/k", at=2_000_001)
        api.copy(f"{url}/k", str(old))
        same(old.read_bytes(), data)
        assert alone(old)

    def test_a_disk_that_is_full(self, store, url):
        store.put("k", os.urandom(4 * PART + 17))
        with pytest.raises(OSError, match="No space left"):
            api.copy(f"{url}/k", "/dev/full")

    def test_cut_every_time_it_still_arrives_while_there_is_progress(self, store, url, old):
        data = os.urandom(6_000_000)
        store.put("k", data)
        store.fail("cut", method="GET", match="/k", at=1_100_000, times=-1)
        api.copy(f"{url}/k", str(old))
        same(old.read_bytes(), data)

    @pytest.mark.parametrize("kind", ["cut", "reset", "garbage", "longer", "status"])
    def test_a_failure_that_stays_keeps_the_old_file(self, store, url, old, kind):
        store.put("k", os.urandom(300_000))
        store.fail(kind, method="GET", match="/k", at=1000, times=-1)
        if kind == "longer":
            # Bytes after the body are dropped with their connection: the object itself is whole.
            api.copy(f"{url}/k", str(old))
            same(old.read_bytes(), store.get("k"))
            return
        with pytest.raises(MoxFileRespException) as caught:
            api.copy(f"{url}/k", str(old))
        assert f"{url}/k" in str(caught.value)
        assert old.read_bytes() == b"OLD" and alone(old)

    def test_a_flipped_byte_is_noticed_and_mended(self, store, url, old):
        data = os.urandom(300_000)
        store.put("k", data)
        store.fail("flip", method="GET", match="/k")
        api.copy(f"{url}/k", str(old))
        same(old.read_bytes(), data)

    def test_a_byte_that_is_always_flipped_is_an_error(self, store, url, old):
        store.put("k", os.urandom(300_000))
        store.fail("flip", method="GET", match="/k", times=-1)
        with pytest.raises(MoxFileReadException, match="damaged"):
            api.copy(f"{url}/k", str(old))
        assert old.read_bytes() == b"OLD" and alone(old)

    def test_a_flipped_byte_in_a_part_of_a_large_file(self, store, url, old):
        data = os.urandom(4 * PART + 17)
        store.put("k", data)
        store.fail("flip", method="GET", match="/k")
        api.copy(f"{url}/k", str(old))
        same(old.read_bytes(), data)

    @pytest.mark.parametrize(("fast", "size"), [("1", 300_000), ("1", 4 * PART + 17), ("0", 9)])
    def test_a_flipped_byte_in_an_object_that_came_in_parts(
        self, store, url, old, scheme, fast, size, monkeypatch
    ):
        monkeypatch.setenv("MOX_FILE_FASTPATH", fast)
        if scheme == "obs":
            pytest.skip("OBS tells nothing about the content of such an object")
        data = os.urandom(size)
        store.put("k", data).etag += "-2"
        store.fail("flip", method="GET", match="/k")
        api.copy(f"{url}/k", str(old))
        same(old.read_bytes(), data)

    def test_versions_are_never_mixed(self, store, url, old):
        first, second = os.urandom(4 * PART + 17), os.urandom(4 * PART + 17)
        store.put("k", first)
        store.fail("replace", method="GET", match="/k", body=second)
        api.copy(f"{url}/k", str(old))
        same(old.read_bytes(), second)
        assert alone(old)

    def test_a_range_that_the_server_ignores(self, store, url):
        store.put("k", b"0123456789")
        store.fail("whole", method="GET", match="/k", times=-1)
        with pytest.raises(MoxFileRespException), api.File(f"{url}/k", "rb") as file:
            file.seek(5)
            file.read(2)

    def test_an_escaping_key_is_refused_before_the_first_byte(self, store, url, tmp_path):
        store.put("d/ok", b"1")
        store.put("d/../../evil", b"2")
        target = tmp_path / "in" / "side"
        with pytest.raises(Exception, match="evil"):
            api.copy_parallel(f"{url}/d", str(target))
        assert not (tmp_path / "evil").exists() and not (target / "ok").exists()


class TestUpload:
    @pytest.mark.parametrize("fast", ["1", "0"])
    def test_what_arrives_damaged_is_sent_again(self, store, url, tmp_path, fast, monkeypatch):
        monkeypatch.setenv("MOX_FILE_FASTPATH", fast)
        data = os.urandom(400_000)
        (tmp_path / "f").write_bytes(data)
        store.fail("flip_in", method="PUT")
        api.copy(str(tmp_path / "f"), f"{url}/k")
        same(store.get("k"), data)
        assert sum(m == "PUT" for m, _ in store.requests) == 2

    @pytest.mark.parametrize("kind", ["reset", "status", "late"])
    def test_one_failure_of_a_part(self, store, url, tmp_path, kind):
        data = os.urandom(4 * PART + 17)
        (tmp_path / "f").write_bytes(data)
        store.fail(kind, method="PUT", match="partNumber=2")
        api.copy(str(tmp_path / "f"), f"{url}/k")
        same(store.get("k"), data)
        assert store.uploads == {}

    def test_a_part_that_always_fails_aborts_the_upload(self, store, url, tmp_path):
        store.put("k", b"OLD")
        (tmp_path / "f").write_bytes(os.urandom(4 * PART + 17))
        store.fail("status", method="PUT", match="partNumber=3", times=-1)
        with pytest.raises(TransientError, match="SlowDown"):
            api.copy(str(tmp_path / "f"), f"{url}/k")
        assert store.get("k") == b"OLD" and store.uploads == {}

    def test_an_error_inside_a_200_is_an_error(self, store, url, tmp_path):
        (tmp_path / "f").write_bytes(os.urandom(4 * PART + 17))
        store.fail("error_200", method="POST", match="uploadId", times=-1)
        with pytest.raises(MoxFileRespException):
            api.copy(str(tmp_path / "f"), f"{url}/k")
        assert store.get("k") is None and store.uploads == {}

    def test_a_completion_whose_answer_is_lost(self, store, url, tmp_path):
        data = os.urandom(4 * PART + 17)
        (tmp_path / "f").write_bytes(data)
        store.fail("late", method="POST", match="uploadId")
        api.copy(str(tmp_path / "f"), f"{url}/k")
        same(store.get("k"), data)

    def test_a_refusal_while_the_body_is_sent(self, store, url, tmp_path):
        (tmp_path / "f").write_bytes(os.urandom(15 << 20))
        store.fail("early_403", method="PUT", times=-1)
        with pytest.raises(MoxFileRespException):
            api.copy(str(tmp_path / "f"), f"{url}/k")
        assert store.get("k") is None

    def test_one_bad_file_does_not_stop_the_others(self, store, url, tmp_path):
        for name in "abcdef":
            (tmp_path / name).write_bytes(name.encode())
        store.fail("status", method="PUT", match="/d/c", times=-1, status=403, code="AccessDenied")
        with pytest.raises(CopyError) as caught:
            api.copy_parallel(str(tmp_path), f"{url}/d")
        assert [failure[1] for failure in caught.value.failures] == [f"{url}/d/c"]
        assert [store.get(f"d/{name}") for name in "abdef"] == [b"a", b"b", b"d", b"e", b"f"]

    def test_an_exception_inside_with_publishes_nothing(self, store, url):
        store.put("k", b"OLD")
        with pytest.raises(KeyError), api.File(f"{url}/k", "wb") as file:
            file.write(bytes(12 << 20))
            raise KeyError
        assert store.get("k") == b"OLD" and store.uploads == {}


class TestAnswers:
    def test_a_slow_down_is_obeyed(self, store, url):
        store.put("k", b"x")
        store.fail("status", times=2, status=503, code="SlowDown")
        assert api.read(f"{url}/k", binary=True) == b"x"

    @pytest.mark.parametrize("status", [429, 500, 502, 504])
    def test_passing_troubles_pass(self, store, url, status):
        store.put("k", b"x")
        store.fail("status", times=2, status=status, code="Trouble")
        assert api.read(f"{url}/k", binary=True) == b"x"

    @pytest.mark.data_plane
    def test_retry_after_is_waited_for(self, store, url):
        store.put("k", b"x")
        store.fail("status", status=503, headers={"Retry-After": "1"})
        began = time.monotonic()
        assert api.read(f"{url}/k", binary=True) == b"x"
        assert time.monotonic() - began >= 1

    @pytest.mark.data_plane
    def test_a_wrong_clock_is_corrected(self, store, url):
        store.put("k", b"x")
        store.clock_offset = 7200.0
        assert api.read(f"{url}/k", binary=True) == b"x"
        seen = len(store.requests)
        assert api.read(f"{url}/k", binary=True) == b"x"
        skewed = len(store.requests) - seen
        assert skewed < seen  # the second time nothing is refused

    def test_denied_is_not_absent(self, store, url):
        store.fail("status", status=403, code="AccessDenied", times=-1)
        with pytest.raises(AccessDeniedError):
            api.exists(f"{url}/k")
        with pytest.raises(PermissionError):
            api.is_directory(f"{url}/k")

    def test_wrong_keys_are_named_and_never_shown(self, store, url, store_settings, caplog):
        api.set_auth(sk="not-the-secret-at-all")
        store.put("k", b"x")
        with caplog.at_level("DEBUG"), pytest.raises(AccessDeniedError, match="sk") as caught:
            api.read(f"{url}/k")
        shown = f"{caught.value!r} {caught.value} {caplog.text}"
        assert "not-the-secret" not in shown and store_settings.sk not in shown
        api.set_auth(ak="SOMEBODYELSE00001")
        with pytest.raises(AccessDeniedError, match="ak"):
            api.read(f"{url}/k")

    def test_what_others_write_and_remove_is_seen_at_once(self, store, url):
        """Neither listings nor what is not there is remembered."""
        for _ in range(2):
            assert api.exists(f"{url}/d") is False
            store.put("d/k", b"x")
            assert (api.exists(f"{url}/d/k"), api.list_directory(f"{url}/d")) == (True, ["k"])
            store.put("d/k", b"longer")
            assert api.get_size(f"{url}/d/k") == 6
            del store.buckets["bucket"]["d/k"]

    def test_a_malformed_listing_is_an_error(self, store, url):
        store.fail(
            "raw",
            match="prefix",
            times=-1,
            body=b"HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n<ListBucketResult><Conte",
        )
        with pytest.raises(MoxFileRespException):
            api.list_directory(f"{url}/d")

    @pytest.mark.data_plane
    def test_deletes_that_fail_are_reported(self, store, url):
        for name in ("a", "forbidden", "z"):
            store.put(f"d/{name}", b"")
        with pytest.raises(MoxFileRespException, match="forbidden"):
            api.remove(f"{url}/d", recursive=True)
        assert store.get("d/a") is None and store.get("d/forbidden") == b""

    def test_nothing_is_left_where_a_listing_shifts(self, store, url, scheme):
        if scheme == "obs":
            pytest.skip("OBS pages by key")
        store.shifting = True
        for number in range(2500):
            store.put(f"d/{number:04}", b"")
        store.put("d2", b"")
        api.remove(f"{url}/d", recursive=True)
        assert list(store.buckets["bucket"]) == ["d2"]

    @pytest.mark.data_plane
    def test_a_delete_that_never_ends_says_so(self, store, url):
        """The server claims to delete, and does not."""
        for number in range(1002):
            store.put(f"d/{number:04}", b"")
        store.fail("raw", match="delete", times=-1, body=NOTHING_FAILED)
        with pytest.raises(OSError, match="not empty.*bucket/d"):
            api.remove(f"{url}/d", recursive=True)


class TestDeadEndpoints:
    def test_nobody_listens(self, store, url):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            api.set_auth(port=unused.getsockname()[1])
            began = time.monotonic()
            with pytest.raises(MoxFileRespException, match="Connection refused"):
                api.read(f"{url}/k")
        assert time.monotonic() - began < 30

    def test_a_listener_that_never_answers(self, store, url):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            api.set_auth(port=silent.getsockname()[1], client_timeout=0.3, retry=2)
            with pytest.raises(MoxFileRespException, match="no answer from"):
                api.read(f"{url}/k")

    def test_an_unknown_host(self, store, url):
        api.set_auth(server="no-such-host.invalid", is_secure=False)
        with pytest.raises(MoxFileRespException, match="no-such-host"):
            api.read(f"{url}/k")


@pytest.mark.data_plane
def test_only_the_named_endpoint_is_contacted(store, url, monkeypatch):
    """A custom endpoint never leads to a public host, not even for a fallback."""
    asked: list[object] = []
    resolve = socket.getaddrinfo

    def getaddrinfo(host, *args, **kwargs):
        asked.append(host)
        return resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    store.put("k", b"x")
    store.fail("status", status=501, code="NotImplemented", method="GET", match="/k")
    assert api.read(f"{url}/k", binary=True) == b"x"  # by the SDK
    assert set(asked) == {"127.0.0.1"}


@pytest.mark.data_plane
def test_connections_are_kept_unless_said_otherwise(store, url):
    api.write(f"{url}/k", "x")
    for kept in (True, False):
        api.set_auth(long_conn_mode=kept)
        before = store.connections
        for _ in range(3):
            api.read(f"{url}/k")
        assert store.connections - before == (1 if kept else 3)


def test_the_content_is_stored_as_it_is(store, url, tmp_path):
    """No framing of chunks, no checksum trailer inside the object, in either way of sending."""
    data = os.urandom(200_000)
    (tmp_path / "f").write_bytes(data)
    api.copy(str(tmp_path / "f"), f"{url}/k")
    assert hashlib.md5(store.get("k")).digest() == hashlib.md5(data).digest()
