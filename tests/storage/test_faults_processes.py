"""Stopping a copy that waits for a server, and sharing a set-up between processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading

import pytest
from servers.object_store import ACCESS_KEY, SECRET_KEY, ObjectStore

pytest.importorskip("boto3")

PART = 5 << 20
HANGING = 60
"""Seconds that the server stalls: a copy that ends before was stopped, and did not just finish."""


def start(store: ObjectStore, body: str) -> subprocess.Popen[str]:
    script = f"""
from mox_core.storage import api, pool
pool.UNDO = 20  # machines that run tests may be slow
api.set_auth(
    ak={ACCESS_KEY!r}, sk={SECRET_KEY!r}, server="http://127.0.0.1:{store.port}", client_timeout=120
)
{body}
"""
    environment = {**os.environ, "MOX_FILE_LARGE_FILE_PART_SIZE": str(PART)}
    return subprocess.Popen([sys.executable, "-c", script], env=environment, text=True)


def stalls(store: ObjectStore, method: str, match: str, at: int = 0) -> threading.Event:
    """Lets one request hang, and says when it does."""
    hangs = threading.Event()
    wait = store.closing.wait

    class Closing:
        def wait(self, _: float) -> None:
            hangs.set()
            wait(HANGING)

        def set(self) -> None:
            pass

    store.fail("stall", method=method, match=match, at=at)
    store.closing = Closing()  # type: ignore[assignment]
    return hangs


@pytest.fixture
def store():
    with ObjectStore() as running:
        real = running.closing
        yield running
        running.closing = real


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_upload_leaves_nothing_open(store, tmp_path, number):
    (tmp_path / "big").write_bytes(os.urandom(4 * PART + 1))
    hangs = stalls(store, "PUT", "partNumber=3", at=-1)
    process = start(store, f"api.copy_parallel({str(tmp_path)!r}, 's3://bucket/d')")
    assert hangs.wait(30)
    process.send_signal(number)
    assert process.wait(HANGING / 2) != 0
    assert store.uploads == {} and store.get("d/big") is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_download_leaves_no_file(store, tmp_path, number):
    store.put("d/big", os.urandom(300_000))
    hangs = stalls(store, "GET", "/d/big", at=1000)
    target = tmp_path / "target"
    process = start(store, f"api.copy_parallel('s3://bucket/d', {str(target)!r})")
    assert hangs.wait(30)
    process.send_signal(number)
    assert process.wait(HANGING / 2) != 0
    assert [file for file in target.rglob("*") if file.is_file()] == []


def _read_all(port: int, scheme: str, found: multiprocessing.SimpleQueue) -> None:
    from mox_core.storage import api

    bad = [n for n in range(40) if api.read(f"{scheme}://bucket/{n}") != f"content {n}"]
    found.put(bad)


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_processes_never_get_each_other_s_answers(object_store, monkeypatch, way):
    from mox_core.storage import api, registry
    from mox_core.storage.auth import Settings

    monkeypatch.setattr(registry.DRIVERS, "_settings", Settings())
    monkeypatch.setattr(registry.DRIVERS, "_drivers", {})
    for name, value in {
        "ACCESS_KEY_ID": ACCESS_KEY,
        "SECRET_ACCESS_KEY": SECRET_KEY,
        "S3_ENDPOINT": f"http://127.0.0.1:{object_store.port}",
    }.items():
        monkeypatch.setenv(name, value)
    for number in range(40):
        object_store.put(str(number), f"content {number}".encode())
    assert api.read("s3://bucket/0") == "content 0"  # leaves an open connection behind
    context = multiprocessing.get_context(way)
    found = context.SimpleQueue()
    children = [
        context.Process(target=_read_all, args=(object_store.port, "s3", found)) for _ in range(4)
    ]
    for child in children:
        child.start()
    assert [n for n in range(40) if api.read(f"s3://bucket/{n}") != f"content {n}"] == []
    assert [found.get() for _ in children] == [[], [], [], []]
    for child in children:
        child.join()


def test_a_child_does_not_close_its_parent_s_connection(object_store, store_settings, sink):
    """A fork that ends runs no clean-up that would end the parent's answers."""
    from mox_storage_s3.driver import make_driver

    object_store.put("k", b"x" * 1000)
    driver = make_driver("s3", store_settings)
    driver.stat("bucket/k")
    before = object_store.connections
    pid = os.fork()
    if pid == 0:
        del driver
        os._exit(0)
    os.waitpid(pid, 0)
    driver.fetch("bucket/k", sink)
    assert sink.data == b"x" * 1000 and object_store.connections == before
    driver.close()
