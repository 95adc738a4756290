"""A second process that helps with many small files: it copies, fails and ends as the first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from servers.object_store import ACCESS_KEY, SECRET_KEY, ObjectStore
from test_faults_processes import HANGING, stalls

from mox_core.storage import api, helper, moving, pool, registry
from mox_core.storage.auth import Settings
from mox_core.storage.copying import Copier
from mox_core.storage.errors import AccessDeniedError, CopyError

pytest.importorskip("boto3")
pytest.importorskip("obs")

FILES = [f"d{number % 3}/f{number:03}" for number in range(120)]


@pytest.fixture(params=["s3", "obs"])
def url(request):
    return f"{request.param}://bucket"


@pytest.fixture
def store(object_store: ObjectStore, monkeypatch) -> ObjectStore:
    """The server, and a helper even for few files."""
    monkeypatch.setattr(registry.DRIVERS, "_settings", Settings())
    monkeypatch.setattr(registry.DRIVERS, "_drivers", {})
    monkeypatch.setattr(moving, "MANY", 20)
    monkeypatch.setenv("MOX_FILE_PROCESSES", "2")
    monkeypatch.delenv("MOX_FILE_FASTPATH", raising=False)
    monkeypatch.setattr(object_store, "closing", object_store.closing)  # `stalls` replaces it
    said = {"server": f"http://127.0.0.1:{object_store.port}", "retry_wait": 0.02}
    api.set_auth(ak=ACCESS_KEY, sk=SECRET_KEY, **said)
    return object_store


class Watched(helper.Helper):
    """Notes what the helper process reports; the first report may be turned into an accident."""

    def __init__(self, *args, **how) -> None:
        WATCH.helpers.append(self)
        super().__init__(*args, **how)

    def _settle(self, done, failed, size) -> None:
        WATCH.copied += len(done)
        first = not WATCH.reported.is_set()
        WATCH.reported.set()
        if first and WATCH.accident:
            WATCH.accident(self._process)
        super()._settle(done, failed, size)


class Watch:
    def __init__(self) -> None:
        self.helpers: list[Watched] = []
        self.copied = 0
        self.reported = threading.Event()
        self.accident = None


@pytest.fixture
def watch(monkeypatch):
    """Lets this process wait for the helper's first report, once it has measured a few files."""
    global WATCH
    WATCH = Watch()
    monkeypatch.setattr(helper, "Helper", Watched)
    attempt = Copier.attempt
    begun = []

    def patient(self, job, number):
        begun.append(job)
        if len(begun) > pool.FEW:
            assert WATCH.reported.wait(120)
        attempt(self, job, number)

    monkeypatch.setattr(Copier, "attempt", patient)
    return WATCH


def fill(folder: Path) -> dict[str, bytes]:
    content = {name: os.urandom(number) for number, name in enumerate(FILES)}
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return content


def tree(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


class Count:
    def __init__(self) -> None:
        self.sum = self.files = 0

    def bytes(self, count: int) -> None:
        self.sum += count

    def file(self) -> None:
        self.files += 1


def test_both_processes_copy_up(store, watch, url, tmp_path):
    content, count = fill(tmp_path), Count()
    api.copy_parallel(str(tmp_path), f"{url}/d", progress=count)
    assert {name: store.get(f"d/{name}") for name in FILES} == content
    assert 0 < watch.copied < len(FILES)
    assert (count.files, count.sum) == (len(FILES), sum(map(len, content.values())))


def test_both_processes_copy_down_and_list_every_failure(store, watch, url, tmp_path):
    for number, name in enumerate(FILES):
        store.put(f"d/{name}", b"x" * number)
    denied = [FILES[-1], FILES[20]]
    for name in denied:
        store.fail("status", match=name, times=-1, status=403, code="AccessDenied")
    with pytest.raises(CopyError) as caught:
        api.copy_parallel(f"{url}/d", str(tmp_path))
    failed = {source: error for source, _, error in caught.value.failures}
    assert set(failed) == {f"{url}/d/{name}" for name in denied}
    assert all(isinstance(e, AccessDeniedError) and e.resp.status == 403 for e in failed.values())
    expected = {name: b"x" * n for n, name in enumerate(FILES) if name not in denied}
    assert tree(tmp_path) == expected
    assert 0 < watch.copied < len(FILES)


def test_what_a_killed_helper_had_is_copied_here(store, watch, tmp_path):
    lines = []

    def accident(process: subprocess.Popen) -> None:
        lines.append(Path(f"/proc/{process.pid}/cmdline").read_bytes())
        process.kill()
        process.wait()

    watch.accident = accident
    content = fill(tmp_path)
    api.copy_parallel(str(tmp_path), "s3://bucket/d")
    assert {name: store.get(f"d/{name}") for name in FILES} == content
    assert b"mox_core" in lines[0] and SECRET_KEY.encode() not in lines[0]


@pytest.mark.parametrize("answer", ["exit 1", "exec 0<&-; exec sleep 60", "exec sleep 60"])
def test_a_helper_that_does_not_start_is_done_without(store, monkeypatch, tmp_path, answer):
    broken = tmp_path / "python"
    broken.write_text(f"#!/bin/sh\n{answer}\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    content = fill(tmp_path / "s")
    api.copy_parallel(str(tmp_path / "s"), "s3://bucket/d")
    assert {name: store.get(f"d/{name}") for name in FILES} == content


@pytest.mark.parametrize("why", ["is_processing", "MOX_FILE_PROCESSES", "few", "threads", "socket"])
def test_when_no_helper_is_started(store, monkeypatch, tmp_path, why):
    monkeypatch.setattr(helper, "Helper", None)  # to make one is an error
    how = {"is_processing": why != "is_processing", "threads": 1 if why == "threads" else 16}
    if why == "MOX_FILE_PROCESSES":
        monkeypatch.setenv(why, "1")
    elif why == "few":
        monkeypatch.setattr(moving, "MANY", len(FILES) * 2)
    elif why == "socket":  # replaced, as proxies and gevent do
        monkeypatch.setattr(helper.socket, "create_connection", lambda *_, **__: None)
        monkeypatch.setattr(moving, "_knock", lambda _: None)
        monkeypatch.setattr(Copier, "attempt", lambda *_: None)
    fill(tmp_path)
    api.copy_parallel(str(tmp_path), "s3://bucket/d", **how)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_helper_ends_with_the_copy_and_leaves_no_file(store, tmp_path, number):
    folder = f"d-{number}"  # a late request of another test's process must not count
    for name in FILES:
        store.put(f"{folder}/{name}", os.urandom(3000))
    # The last file is lent; what this process copies ends before.
    hangs = stalls(store, "GET", f"{folder}/{FILES[-1]}", at=1000)
    script = f"""
import sys
from mox_core.storage import api, helper, moving, pool
from mox_core.storage.copying import Copier
moving.MANY = 20
helper.GRACE = pool.UNDO = 20  # machines that run tests may be slow
start, attempt, begun = helper.Helper._start, Copier.attempt, []

def noted(self):
    start(self)
    print(self._process.pid, flush=True)

def patient(self, job, number):
    begun.append(job)
    if len(begun) > pool.FEW:
        self.pool.stop.wait()  # nothing of this process may be under way
    attempt(self, job, number)

helper.Helper._start, Copier.attempt = noted, patient
api.set_auth(ak={ACCESS_KEY!r}, sk={SECRET_KEY!r}, server="http://127.0.0.1:{store.port}",
             client_timeout=120)
api.copy_parallel("s3://bucket/{folder}", {str(tmp_path)!r})
"""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            pid = int(process.stdout.readline())
            assert hangs.wait(60)
            running = os.pidfd_open(pid)
            process.send_signal(number)
            assert process.wait(HANGING / 2) != 0
        finally:
            process.kill()
    ended = threading.Event()
    threading.Thread(target=lambda: wait_for(running) or ended.set(), daemon=True).start()
    assert ended.wait(HANGING / 2)
    assert not [name for name in tree(tmp_path) if name not in FILES]
    assert FILES[-1] not in tree(tmp_path)


def wait_for(running: int) -> None:
    import select

    select.select([running], [], [])


def test_credentials_from_a_profile_are_handed_on_and_those_that_expire_are_not(
    store, monkeypatch, tmp_path
):
    from botocore.credentials import RefreshableCredentials
    from botocore.session import Session

    from mox_storage_s3.driver import make_driver

    (tmp_path / "aws").write_text(
        f"[default]\naws_access_key_id={ACCESS_KEY}\naws_secret_access_key={SECRET_KEY}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "aws"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    settings = Settings(server="127.0.0.1", port=store.port, is_secure=False)
    recipe = make_driver("s3", settings).recipe()
    assert (recipe.settings.ak, recipe.settings.sk) == (ACCESS_KEY, SECRET_KEY)
    again = make_driver(recipe.scheme, recipe.settings)
    assert again.put("bucket/k", b"1").path == "bucket/k" and store.get("k") == b"1"

    expiring = RefreshableCredentials(ACCESS_KEY, SECRET_KEY, "t", None, lambda: {}, "test")
    monkeypatch.setattr(Session, "get_credentials", lambda self: expiring)
    monkeypatch.setattr(
        RefreshableCredentials, "get_frozen_credentials", lambda self: pytest.fail("not needed")
    )
    assert make_driver("s3", settings).recipe() is None
