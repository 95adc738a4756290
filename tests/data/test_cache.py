"""Local copies: complete or absent, shared, bounded, removed by the last one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from mox_core.data.cache import CACHE_VARIABLE, LocalCache, resolve_cache_dir
from mox_core.errors import DataError


def entries(folder):
    return [p for p in Path(folder).rglob("*") if p.is_file() and len(p.parent.name) == 2]


class Origin:
    """Remote data that count how often they are read."""

    def __init__(self, size=100):
        self.size = size
        self.reads = []

    def read(self, cache, name, version="1", **part):
        def fetch():
            self.reads.append(name)
            return (name * self.size)[: self.size].encode()

        return cache.read(name, version, fetch, **part)


def test_what_was_read_once_is_read_from_the_copy(tmp_path):
    cache, origin = LocalCache(tmp_path, "s3://b/x"), Origin()
    first = origin.read(cache, "a")
    assert origin.read(cache, "a") == first == b"a" * 100
    assert origin.read(cache, "a", start=3, length=4) == b"aaaa"
    assert origin.read(cache, "b", start=90, length=5) == b"bbbbb"
    assert origin.reads == ["a", "b"]
    origin.read(cache, "a", version="2")
    assert origin.reads == ["a", "b", "a"]
    another = LocalCache(tmp_path, "s3://b/x/")
    assert origin.read(another, "a") == first
    assert len(origin.reads) == 3


def test_what_was_used_longest_ago_goes_first(tmp_path):
    cache, origin = LocalCache(tmp_path, "x", limit=1000), Origin()
    for number, name in enumerate("abcdefghi"):
        origin.read(cache, name)
        (entry,) = [one for one in entries(tmp_path) if one.read_bytes()[:1] == name.encode()]
        os.utime(entry, (number, number))
    origin.read(cache, "a")  # used again
    origin.reads.clear()
    for name in "jkl":
        origin.read(cache, name)
    assert sum(entry.stat().st_size for entry in entries(tmp_path)) <= 1000
    origin.read(cache, "a")
    origin.read(cache, "b")
    assert origin.reads == ["j", "k", "l", "b"]


def test_the_limit_counts_the_entries_of_all_data_sets(tmp_path):
    origin = Origin()
    for owner in "pqr":
        cache = LocalCache(tmp_path, owner, limit=1000)
        for name in "abcd":
            origin.read(cache, owner + name)
    assert sum(entry.stat().st_size for entry in entries(tmp_path)) <= 1000


def test_what_is_too_large_is_not_kept(tmp_path):
    cache = LocalCache(tmp_path, "x", limit=100)
    assert len(Origin(200).read(cache, "a")) == 200
    assert entries(tmp_path) == []


def test_threads_that_want_the_same_fetch_it_once(tmp_path):
    cache, origin = LocalCache(tmp_path, "x"), Origin()
    threads = [threading.Thread(target=origin.read, args=(cache, "a")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert origin.reads == ["a"]


def test_a_fetch_that_fails_leaves_nothing(tmp_path):
    cache = LocalCache(tmp_path, "x")
    with pytest.raises(OSError, match="gone"):
        cache.read("a", "1", lambda: (_ for _ in ()).throw(OSError("gone")))
    assert entries(tmp_path) == []
    assert Origin().read(cache, "a") == b"a" * 100


def test_a_disk_that_is_full_costs_one_warning(tmp_path, monkeypatch, caplog):
    from mox_core.data import cache as module

    def full(fd, data):
        raise OSError(28, "No space left on device")

    cache, origin = LocalCache(tmp_path, "x"), Origin()
    monkeypatch.setattr(module, "write_all", full)
    assert origin.read(cache, "a") == b"a" * 100
    assert origin.read(cache, "b") == b"b" * 100
    assert [record.message for record in caplog.records] == [
        f"the cache {tmp_path}/mox-data takes no more (No space left on device); "
        "going on without it."
    ]
    assert entries(tmp_path) == []


def test_a_folder_that_somebody_removes_is_made_again(tmp_path):
    cache, origin = LocalCache(tmp_path / "cache", "x"), Origin()
    origin.read(cache, "a")
    shutil.rmtree(tmp_path / "cache")
    assert origin.read(cache, "a") == b"a" * 100
    assert origin.read(cache, "a") == b"a" * 100
    assert origin.reads == ["a", "a"]
    shutil.rmtree(tmp_path / "cache")
    assert cache.remove()
    assert not (tmp_path / "cache").exists()


SCRIPT = """
    import sys
    from mox_core.data.cache import LocalCache

    cache = LocalCache(sys.argv[1], "x", remove_on_exit=sys.argv[2] == "remove", limit=20_000)
    for round in range(3):
        for number in range(60):
            data = cache.read(str(number), "1", lambda: bytes([number]) * 500)
            assert data == bytes([number]) * 500, number
    print("ready", flush=True)
    sys.stdin.read()
"""


EACH_ONCE = """
    import sys
    from mox_core.data.cache import LocalCache

    fetched = []

    def fetch(number):
        fetched.append(number)
        return bytes([number]) * 500

    sys.stdin.readline()
    cache = LocalCache(sys.argv[1], "x")
    for number in range(100):
        assert cache.read(str(number), "1", lambda: fetch(number)) == bytes([number]) * 500
    print(*fetched)
"""


def start(folder, what, script=SCRIPT):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(folder), what],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_processes_share_it_and_the_last_one_removes_it(tmp_path):
    """More data than it holds, so that they evict under each other's hands; one is killed."""
    processes = [start(tmp_path, "remove") for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    assert 0 < sum(entry.stat().st_size for entry in entries(tmp_path)) <= 20_000
    assert all(entry.stat().st_size == 500 for entry in entries(tmp_path))
    processes[0].kill()
    processes[0].wait()
    processes[1].communicate("")
    assert entries(tmp_path)
    processes[2].communicate("")
    assert entries(tmp_path) == []
    assert [process.returncode for process in processes[1:]] == [0, 0]


def test_processes_that_begin_with_an_empty_cache_fetch_everything_once(tmp_path):
    processes = [start(tmp_path, "", EACH_ONCE) for _ in range(3)]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    fetched = " ".join(process.communicate()[0] for process in processes).split()
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(map(int, fetched)) == list(range(100))
    assert len(entries(tmp_path)) == 100


def test_the_folder_env_means_the_variable(monkeypatch, tmp_path):
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    assert resolve_cache_dir("ENV") == "/cache"
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    assert resolve_cache_dir("ENV") == str(tmp_path)
    assert resolve_cache_dir("/other") == "/other"


def test_a_folder_that_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=f"cannot make the cache {tmp_path}/file/mox-data"):
        LocalCache(tmp_path / "file", "x")
    monkeypatch.setenv("MOX_DATA_CACHE_BYTES", "10GB")
    with pytest.raises(DataError, match="must be a number of bytes, not '10GB'"):
        LocalCache(tmp_path, "x")
