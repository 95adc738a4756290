"""What the core does when a store fails: retry, resume, restart, give up, clean up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flaky import FlakyDriver, failing, serving

from mox_core import file
from mox_core.storage import transfer
from mox_core.storage.auth import Settings
from mox_core.storage.driver import ObjectInfo, Piped
from mox_core.storage.errors import AccessDeniedError, TransientError, UnsupportedError
from mox_core.storage.retry import Retry
from mox_core.testing.storage_tiers.contents import same

DATA = bytes(range(256)) * 20_000


@pytest.fixture
def store() -> Iterator[FlakyDriver]:
    with serving(FlakyDriver()) as driver:
        yield driver


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOX_FILE_LARGE_FILE_PART_SIZE", "65536")


def test_what_may_succeed_is_tried_again(store: FlakyDriver) -> None:
    store.before["put"] = failing(3)
    file.write("flaky://b/a", DATA, binary=True)
    store.before["fetch"] = failing(3)
    same(file.read("flaky://b/a", binary=True), DATA)
    assert store.calls["put"] == store.calls["fetch"] == 4


def test_attempts_are_bounded_and_counted(store: FlakyDriver) -> None:
    store.before["put"] = failing(1000)
    with pytest.raises(file.MoxFileRespException, match="503 SlowDown .gave up after 5 attempts"):
        file.write("flaky://b/a", "x")
    assert store.calls["put"] == 5


def test_retry_of_set_auth_counts_attempts() -> None:
    with serving(FlakyDriver(Settings(retry=2, retry_wait=0))) as store:
        store.before["put"] = failing(1000)
        with pytest.raises(file.MoxFileRespException, match="2 attempts"):
            file.write("flaky://b/a", "x")


def test_total_time_is_bounded() -> None:
    retry = Retry(attempts=10**9, wait=0.05, seconds=0.4)
    calls = []

    def call() -> None:
        calls.append(1)
        raise TransientError("no")

    with pytest.raises(TransientError):
        retry.call(call)
    assert 1 < len(calls) < 20


def test_waits_grow_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many clients that failed together do not come back together."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    for attempt in (1, 3):
        for _ in range(20):
            Retry(wait=1.0).pause(TransientError("no"), attempt=attempt, began=time.monotonic())
    assert len(set(waits)) > 30
    assert all(0.5 <= wait <= 1.5 for wait in waits[:20])
    assert all(2 <= wait <= 6 for wait in waits[20:])


def test_silence_of_the_first_attempt_counts(store: FlakyDriver) -> None:
    def silent(_: str) -> None:
        time.sleep(0.06)
        raise TransientError("nothing came")

    file.write("flaky://b/a", "x")
    store.before["fetch"] = silent
    store.retry = Retry(attempts=10, wait=0.001, seconds=0.1)
    with pytest.raises(TransientError, match="1 attempt"):
        file.read("flaky://b/a")


def test_a_server_that_says_when_is_obeyed() -> None:
    error = TransientError("429")
    error.retry_after = 1000
    with pytest.raises(TransientError, match="1 attempt"):
        Retry().call(failing(1, error))


@pytest.mark.parametrize("error", [AccessDeniedError("403"), UnsupportedError("501")])
def test_what_cannot_succeed_is_not_tried_again(store: FlakyDriver, error: Exception) -> None:
    store.before["stat"] = failing(1000, error)
    for ask in (file.exists, file.stat, file.get_size):
        with pytest.raises(type(error)):
            ask("flaky://b/a")
    assert store.calls["stat"] == 3


def test_a_cut_answer_is_resumed(store: FlakyDriver, tmp_path: Path) -> None:
    file.write("flaky://b/a", DATA, binary=True)
    store.cut = 1 << 20
    same(file.read("flaky://b/a", binary=True), DATA)
    file.copy("flaky://b/a", str(tmp_path / "a"))
    same((tmp_path / "a").read_bytes(), DATA)


def test_an_answer_that_brings_nothing_ends(store: FlakyDriver, tmp_path: Path) -> None:
    file.write("flaky://b/a", DATA, binary=True)
    (tmp_path / "a").write_text("old")
    store.cut = 10
    with pytest.raises(TransientError, match="gave up"):
        file.copy("flaky://b/a", str(tmp_path / "a"))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


@pytest.mark.parametrize("parts", [False, True])
def test_a_flipped_bit_is_noticed(
    store: FlakyDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: bool
) -> None:
    file.write("flaky://b/a", DATA, binary=True)
    (tmp_path / "a").write_text("old")
    store.flip = True
    with pytest.raises(file.MoxFileReadException, match="damaged"):
        file.read("flaky://b/a", binary=True)
    with pytest.raises(file.MoxFileReadException, match="damaged"):
        file.copy("flaky://b/a", str(tmp_path / "a"))
    assert (tmp_path / "a").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(not hasattr(os, "splice"), reason="this system has no splice")
@pytest.mark.parametrize("flags", [0, os.O_APPEND], ids=["spliced", "refuses splice"])
def test_bytes_that_wait_in_a_pipe_reach_the_file(tmp_path: Path, flags: int) -> None:
    ends = os.pipe()
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT | flags)
    try:
        os.write(ends[1], b"0123456789")
        writer = transfer.FdWriter(fd)
        writer(memoryview(b"head "))
        writer(Piped(ends[0], 10))
    finally:
        for each in (*ends, fd):
            os.close(each)
    assert (tmp_path / "file").read_bytes() == b"head 0123456789" and writer.at == 15


def test_a_changed_object_is_never_mixed(
    store: FlakyDriver, small_parts: None, tmp_path: Path
) -> None:
    """The object is replaced while its parts are on the way: all parts are of one version."""
    old, new = b"o" * 1_000_000, b"n" * 900_000
    file.write("flaky://b/a", old, binary=True)

    def replace(path: str) -> None:
        if store.calls["fetch"] == 3:
            super(FlakyDriver, store).put("b/a", new)

    store.before["fetch"] = replace
    file.copy("flaky://b/a", str(tmp_path / "a"))
    same((tmp_path / "a").read_bytes(), new)
    assert len(list(tmp_path.iterdir())) == 1


def test_an_open_file_says_that_it_changed(store: FlakyDriver) -> None:
    file.write("flaky://b/a", b"o" * 1_000_000, binary=True)
    with file.File("flaky://b/a", "rb") as stream:
        assert stream.read(10) == b"o" * 10
        file.write("flaky://b/a", b"n" * 1_000_000, binary=True)
        stream.seek(900_000)
        with pytest.raises(file.MoxFileReadException, match="changed"):
            stream.read(10)


@pytest.mark.parametrize("step", ["upload_part", "complete_upload"])
def test_a_failed_upload_is_aborted(
    store: FlakyDriver, small_parts: None, tmp_path: Path, step: str
) -> None:
    (tmp_path / "a").write_bytes(DATA)
    file.write("flaky://b/a", "old")
    store.before[step] = failing(1000, AccessDeniedError("403 on the way"))
    with pytest.raises(AccessDeniedError, match="403 on the way"):
        file.copy(str(tmp_path / "a"), "flaky://b/a")
    with pytest.raises(AccessDeniedError), file.File("flaky://b/a", "wb") as out:
        out.write(DATA)
    assert store.store.uploads == {}
    assert file.read("flaky://b/a") == "old"
    same((tmp_path / "a").read_bytes(), DATA)


def test_a_lost_answer_to_complete_is_no_failure(
    store: FlakyDriver, small_parts: None, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(DATA)
    lost = failing(1)
    real = FlakyDriver.complete_upload

    def complete(path: str, upload: str, parts: list[str]) -> object:
        info = real(store, path, upload, parts)
        lost()
        return info

    store.complete_upload = complete  # type: ignore[method-assign]
    file.copy(str(tmp_path / "a"), "flaky://b/a")
    same(file.read("flaky://b/a", binary=True), DATA)


def test_one_failure_does_not_stop_the_others(store: FlakyDriver, tmp_path: Path) -> None:
    for number in range(50):
        file.write(f"flaky://b/d/{number:02}", "x")

    def refuse(path: str) -> None:
        if path in ("b/d/07", "b/d/31"):
            raise AccessDeniedError(f"403 for {path}")

    store.before["fetch"] = refuse
    with pytest.raises(file.CopyError) as caught:
        file.copy_parallel("flaky://b/d", str(tmp_path / "d"))
    assert "could not copy 2 files" in str(caught.value)
    assert "403 for b/d/07" in str(caught.value) and "403 for b/d/31" in str(caught.value)
    assert sorted(source for source, _, _ in caught.value.failures) == [
        "flaky://b/d/07",
        "flaky://b/d/31",
    ]
    assert len(list((tmp_path / "d").iterdir())) == 48


def test_local_files_that_cannot_be_copied(store: FlakyDriver, tmp_path: Path) -> None:
    (tmp_path / "good").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / os.fsdecode(b"bad\xff")).write_text("x")
    with pytest.raises(file.CopyError) as caught:
        file.copy_parallel(str(tmp_path), "flaky://b/d")
    failed = {os.path.basename(source) for source, _, _ in caught.value.failures}
    assert {"pipe", "dangling"} <= failed
    assert file.read("flaky://b/d/good") == "x"


def test_two_writers_who_append_lose_nothing(store: FlakyDriver) -> None:
    def work(letter: str) -> None:
        for _ in range(25):
            file.append("flaky://b/log", letter)

    threads = [threading.Thread(target=work, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(file.read("flaky://b/log")) == sorted("abcd" * 25)


def test_append_where_nothing_helps(store: FlakyDriver) -> None:
    """An object that cannot be appended to is composed or rewritten."""

    def refuse(path: str, body: object, *, position: int) -> int:
        raise UnsupportedError("not appendable")

    store.append = refuse  # type: ignore[method-assign, assignment]
    file.append("flaky://b/small", "a")
    file.append("flaky://b/small", "b")
    assert file.read("flaky://b/small") == "ab"
    file.write("flaky://b/large", DATA, binary=True)
    file.append("flaky://b/large", b"end", binary=True)
    same(file.read("flaky://b/large", binary=True), DATA + b"end")
    assert store.store.uploads == {}


STOPPED = """
    import os, sys, threading
    sys.path.insert(0, {here!r})
    from flaky import FlakyDriver
    from mox_core import file
    from mox_core.storage import pool
    from mox_core.storage.registry import DRIVERS

    os.environ["MOX_FILE_LARGE_FILE_PART_SIZE"] = "65536"
    store = FlakyDriver()
    serving = DRIVERS.serving("flaky", store)
    serving.__enter__()
    for number in range(30):
        file.write(f"flaky://b/d/{{number}}", b"x" * 1000, binary=True)
    stuck = threading.Event()
    count = [0]
    lock = threading.Lock()
    def say(word):
        os.write(1, word.encode() + b"\\n")
    def hang(*_):
        with lock:
            count[0] += 1
            if count[0] == 9:
                say("ready")
        if count[0] > 8:
            stuck.wait(60)
    store.before["fetch"] = store.before["upload_part"] = hang
    begin, abort, interrupt = store.begin_upload, store.abort_upload, store.interrupt
    pool.UNDO = 30  # machines that run tests may be slow
    store.begin_upload = lambda path: (say("begin"), begin(path))[1]
    store.abort_upload = lambda path, upload: (say("abort"), abort(path, upload))[1]
    store.interrupt = lambda: say("interrupt")
    file.copy_parallel({source!r}, {target!r}, threads=8)
"""


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("up", [True, False])
def test_a_stopped_copy_leaves_nothing(tmp_path: Path, kind: int, up: bool) -> None:
    """Threads that hang in a dead connection do not hold up the end."""
    target = tmp_path / "target"
    source = "flaky://b/d"
    if up:
        source = str(tmp_path / "source")
        os.mkdir(source)
        for number in range(4):
            (tmp_path / "source" / str(number)).write_bytes(DATA)
    script = textwrap.dedent(STOPPED).format(
        here=str(Path(__file__).parent),
        source=source,
        target="flaky://b/up" if up else str(target),
    )
    # Unbuffered: what readline reads ahead, communicate would not see.
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    assert process.stdout is not None
    before: list[str] = []
    while "ready" not in before:
        before.append(process.stdout.readline().decode().strip())
        assert before[-1], "the script ended early"
    process.send_signal(kind)
    out, err = process.communicate(timeout=30)  # the threads hang for 60 s
    lines = before + out.decode().split()
    assert "interrupt" in lines
    assert lines.count("begin") == lines.count("abort")
    assert ("begin" in lines) is up
    assert process.returncode == -kind if kind == signal.SIGTERM else process.returncode != 0
    assert (b"KeyboardInterrupt" in err) is (kind == signal.SIGINT)
    if not up:
        assert not [path.name for path in target.rglob("*") if path.name.startswith(".mox")]
        assert len(list(target.iterdir())) < 30


def test_a_store_that_stops_answering_is_left_alone(store: FlakyDriver, tmp_path: Path) -> None:
    """Thousands of files are not each waited for."""
    for number in range(200):
        file.write(str(tmp_path / f"d/{number}"), "x")
    store.before["put"] = failing(10**9)
    with pytest.raises(file.CopyError) as caught:
        file.copy_parallel(str(tmp_path / "d"), "flaky://b/d", threads=4)
    assert len(caught.value.failures) == 200
    assert store.calls["put"] < 5 * 30
    assert "not tried" in str(caught.value) and "and 100 more" in str(caught.value)


def test_a_rename_that_fails_keeps_the_source(store: FlakyDriver, tmp_path: Path) -> None:
    for name in "abc":
        file.write(str(tmp_path / f"d/{name}"), name)

    def refuse(path: str) -> None:
        if path.endswith("b"):
            raise AccessDeniedError("403")

    store.before["put"] = refuse
    with pytest.raises(file.CopyError):
        file.rename(str(tmp_path / "d"), "flaky://x/d")
    assert file.list_directory(str(tmp_path / "d")) == ["a", "b", "c"]


def test_what_comes_during_a_rename_is_not_lost(store: FlakyDriver, tmp_path: Path) -> None:
    for name in "ab":
        file.write(f"flaky://x/d/{name}", name)
    store.put("x/d/", b"")
    store.before["fetch"] = lambda _: store.put("x/d/late", b"new")
    file.rename("flaky://x/d", str(tmp_path / "d"))
    assert file.list_directory(str(tmp_path / "d")) == ["a", "b"]
    assert list(store.store.objects) == ["x/d/late"]


def test_listings_are_not_collected(store: FlakyDriver) -> None:
    """An endless listing can be looked at, and summed up page by page."""
    pages = 0

    def endless(prefix: str, *, recursive: bool, limit: int = 0) -> Iterator[list[ObjectInfo]]:
        nonlocal pages
        while True:
            pages += 1
            yield [ObjectInfo(f"{prefix}{pages:09}-{number:03}", 1) for number in range(1000)]

    store.list = endless  # type: ignore[method-assign]
    with file.scan_dir("flaky://b/d") as entries:
        assert next(entries).name == "000000001-000"
    assert pages == 1
    assert file.is_directory("flaky://b/d") is True
    assert pages == 2


def test_a_long_listing_waits_for_the_copy(store: FlakyDriver) -> None:
    """A million files to copy are not a million jobs in memory."""
    total = 30_000
    listed = 0
    ahead = 0

    def pages(prefix: str, *, recursive: bool, limit: int = 0) -> Iterator[list[ObjectInfo]]:
        nonlocal listed, ahead
        for start in range(0, total, 100):
            listed = start + 100
            ahead = max(ahead, listed - store.calls["copy"])
            yield [ObjectInfo(f"b/d/{start + i}", 1, etag="e") for i in range(100)]

    def copy(source: str, target: str, *, etag: str = "") -> ObjectInfo:
        with lock:
            store.calls["copy"] += 1
        return ObjectInfo(target, 1)

    lock = threading.Lock()
    store.list = pages  # type: ignore[method-assign]
    store.copy = copy  # type: ignore[method-assign]
    file.copy_parallel("flaky://b/d", "flaky://b/e", threads=4)
    assert store.calls["copy"] == total
    assert ahead < 5000


def test_file_list_stays_below_the_source(store: FlakyDriver, tmp_path: Path) -> None:
    file.write(str(tmp_path / "d/a"), "x")
    file.write(str(tmp_path / "secret"), "x")
    for name in ("../secret", str(tmp_path / "secret")):
        with pytest.raises(file.MoxFileRespException, match="secret"):
            file.copy_parallel(str(tmp_path / "d"), "flaky://b/d", file_list=[name])
    file.copy_parallel(str(tmp_path / "d"), "flaky://b/d", file_list=["./a", str(tmp_path / "d/a")])
    assert file.list_directory("flaky://b/d") == ["a"]
