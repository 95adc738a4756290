"""Required: single objects and listings, as the core asks for them."""

from __future__ import annotations

import hashlib
import importlib
import marshal
import os
import tempfile
import time

import pytest

from mox_core.storage.auth import Settings
from mox_core.storage.driver import Driver, FileSlice
from mox_core.storage.errors import (
    ChangedError,
    MoxFileNotExistsException,
    UnsupportedError,
)
from mox_core.testing.storage_tiers.bench import Remember, StorageBench, paths
from mox_core.testing.storage_tiers.contents import same

__all__ = ["ObjectsTier", "UploadsTier"]


class ObjectsTier(StorageBench):
    """stat, list, fetch, put, delete_many, copy."""

    def test_put_then_fetch(self, driver: Driver, root: str) -> None:
        """What was put is what is read, from bytes, views and files, down to nothing at all."""
        data = os.urandom(200_000)
        for body in (data, bytearray(data), memoryview(data), b"", b"\0"):
            driver.put(f"{root}a", body)
            sink = Remember()
            info = driver.fetch(f"{root}a", sink)
            same(sink.data, bytes(body))
            assert sink.infos == [info]
            assert info.size == len(body)

    def test_put_a_slice_of_a_file(self, driver: Driver, root: str) -> None:
        """A slice is read by position and may be sent twice."""
        data = os.urandom(300_000)
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.flush()
            body = FileSlice(file.fileno(), 1000, 250_000)
            for name in ("a", "b"):
                driver.put(root + name, body)
                sink = Remember()
                driver.fetch(root + name, sink)
                same(sink.data, data[1000:251_000])

    def test_stat(self, driver: Driver, root: str) -> None:
        """Size, time and version are told; a new version has another etag."""
        before = time.time()
        driver.put(f"{root}a", b"12345")
        info = driver.stat(f"{root}a")
        assert info.path == f"{root}a"
        assert info.size == 5
        assert not info.is_dir
        assert abs(info.mtime_ns / 1e9 - before) < 120, "mtime is not nanoseconds since the epoch"
        driver.put(f"{root}a", b"123456")
        assert driver.stat(f"{root}a").etag != info.etag

    def test_another_process_may_have_a_driver_like_it(self, driver: Driver, root: str) -> None:
        """What `recipe` says can be sent to another process, and leads to the same store."""
        recipe = driver.recipe()
        if recipe is None:
            pytest.skip("this driver cannot be made again in another process")
        driver.put(f"{root}a", b"content")
        module, _, name = recipe.factory.partition(":")
        settings = Settings(**marshal.loads(marshal.dumps(recipe.settings._asdict())))
        again: Driver = getattr(importlib.import_module(module), name)(recipe.scheme, settings)
        try:
            assert again.stat(f"{root}a") == driver.stat(f"{root}a")
        finally:
            again.close()

    def test_digest_is_of_the_content(self, driver: Driver, root: str) -> None:
        """A digest that the store vouches for is right."""
        driver.put(f"{root}a", b"content")
        algorithm, _, value = driver.stat(f"{root}a").digest.partition(":")
        if algorithm in ("md5", "sha1", "sha256"):
            assert value == hashlib.new(algorithm, b"content").hexdigest()

    def test_what_is_missing(self, driver: Driver, root: str) -> None:
        """A missing object raises, with its URL; a name that begins like it changes nothing."""
        driver.put(f"{root}abc/d", b"x")
        for name in ("ab", "abc", "abc/", "abc/d/e", "no/such"):
            if name == "abc/" and driver.capabilities.directories:
                continue
            if not name.endswith("/"):
                with pytest.raises(MoxFileNotExistsException, match=name):
                    driver.fetch(root + name, Remember())
            with pytest.raises(MoxFileNotExistsException, match=name):
                driver.stat(root + name)
        with pytest.raises(MoxFileNotExistsException):
            driver.copy(f"{root}no", f"{root}copy")
        assert paths(driver, f"{root}no/", recursive=True) == []

    @pytest.mark.parametrize(
        ("start", "length"),
        [(0, 10), (0, None), (7, 5), (999, 1), (990, 100), (990, None), (1000, 5), (5000, 5)],
    )
    def test_ranges(self, driver: Driver, root: str, start: int, length: int | None) -> None:
        """Ranges are cut at the end; `info` describes the whole object."""
        data = bytes(range(250)) * 4
        driver.put(f"{root}a", data)
        sink = Remember()
        info = driver.fetch(f"{root}a", sink, start=start, length=length)
        end = None if length is None else start + length
        assert sink.data == data[start:end]
        assert info.size == 1000
        assert sink.infos == [info]

    def test_a_range_of_an_empty_object(self, driver: Driver, root: str) -> None:
        """Nothing comes, and no error."""
        driver.put(f"{root}a", b"")
        sink = Remember()
        assert driver.fetch(f"{root}a", sink, start=0, length=10).size == 0
        assert sink.data == b""

    def test_a_pinned_read_refuses_another_version(self, driver: Driver, root: str) -> None:
        """No byte of a newer version is delivered."""
        driver.put(f"{root}a", b"old content")
        etag = driver.stat(f"{root}a").etag
        if not etag:
            pytest.skip("this store has no etags")
        sink = Remember()
        driver.fetch(f"{root}a", sink, etag=etag)
        assert sink.data == b"old content"
        driver.put(f"{root}a", b"newer content")
        sink = Remember()
        with pytest.raises(ChangedError):
            driver.fetch(f"{root}a", sink, start=2, length=3, etag=etag)
        assert sink.data == b""

    def test_an_error_of_the_sink_reaches_the_caller(self, driver: Driver, root: str) -> None:
        """And the driver works on afterwards."""
        driver.put(f"{root}a", b"x" * 100_000)

        class Full(Remember):
            def write(self, chunk: memoryview) -> None:
                raise OSError(28, "disk full")

        with pytest.raises(OSError, match="disk full"):
            driver.fetch(f"{root}a", Full())
        sink = Remember()
        driver.fetch(f"{root}a", sink)
        assert len(sink.data) == 100_000

    def test_list_levels(self, driver: Driver, root: str) -> None:
        """One level names directories once; all levels name each object."""
        for name in ("b", "d/1", "d/2", "d/e/3", "d2/x", "d.txt"):
            driver.put(root + name, name.encode())
        one = paths(driver, root, recursive=False)
        assert [path for path in one if path != root] == [
            root + name for name in ("b", "d.txt", "d/", "d2/")
        ]
        deep = [path for path in paths(driver, root, recursive=True) if not path.endswith("/")]
        assert deep == [root + name for name in ("b", "d.txt", "d/1", "d/2", "d/e/3", "d2/x")]
        assert [p for p in paths(driver, f"{root}d/", recursive=False) if p != f"{root}d/"] == [
            f"{root}d/1",
            f"{root}d/2",
            f"{root}d/e/",
        ]
        entry = next(
            info
            for page in driver.list(root, recursive=False)
            for info in page
            if info.path == f"{root}d.txt"
        )
        assert entry.size == 5
        assert entry == driver.stat(f"{root}d.txt")._replace(digest=entry.digest)

    def test_list_many(self, driver: Driver, root: str) -> None:
        """Listings go over the borders of pages, and stop at a limit."""
        names = [f"{root}d/{number:05d}" for number in range(self.many)]
        for name in names:
            driver.put(name, b"")
        found = paths(driver, f"{root}d/", recursive=True)
        assert [path for path in found if not path.endswith("/")] == names
        pages = driver.list(f"{root}d/", recursive=False, limit=1)
        assert sum(len(page) for page in pages) >= 1

    def test_delete(self, driver: Driver, root: str) -> None:
        """What is gone already is fine; neighbours stay."""
        for name in ("a", "ab", "c"):
            driver.put(root + name, b"x")
        assert list(driver.delete_many([f"{root}a", f"{root}never-there"])) == []
        found = [path for path in paths(driver, root, recursive=True) if path != root]
        assert found == [f"{root}ab", f"{root}c"]

    def test_delete_many(self, driver: Driver, root: str) -> None:
        """As many as the contract allows at a time."""
        names = [f"{root}{number}" for number in range(min(self.many, 1000))]
        for name in names:
            driver.put(name, b"")
        assert list(driver.delete_many(names)) == []
        assert [path for path in paths(driver, root, recursive=True) if path != root] == []

    def test_directories(self, driver: Driver, root: str) -> None:
        """A directory that was made is listed and can be removed."""
        driver.put(f"{root}d/", b"")
        assert driver.stat(f"{root}d/").is_dir
        assert f"{root}d/" in paths(driver, root, recursive=False)
        assert paths(driver, f"{root}d/", recursive=True) == [f"{root}d/"]
        assert list(driver.delete_many([f"{root}d/"])) == []
        assert paths(driver, f"{root}d/", recursive=True) == []

    def test_copy(self, driver: Driver, root: str) -> None:
        """A copy is equal, the source stays, onto itself nothing happens."""
        driver.put(f"{root}a", b"content")
        driver.put(f"{root}b", b"something longer than that")
        driver.copy(f"{root}a", f"{root}b")
        driver.copy(f"{root}a", f"{root}a")
        for name in ("a", "b"):
            sink = Remember()
            driver.fetch(root + name, sink)
            assert sink.data == b"content"

    def test_conditional_put(self, driver: Driver, root: str) -> None:
        """if_absent and if_match protect what is there."""
        if not driver.capabilities.conditional_put:
            pytest.skip("no capability conditional_put")
        driver.put(f"{root}a", b"1", if_absent=True)
        with pytest.raises(ChangedError):
            driver.put(f"{root}a", b"2", if_absent=True)
        old = driver.stat(f"{root}a").etag
        driver.put(f"{root}a", b"3", if_match=old)
        with pytest.raises(ChangedError):
            driver.put(f"{root}a", b"4", if_match=old)
        sink = Remember()
        driver.fetch(f"{root}a", sink)
        assert sink.data == b"3"

    def test_append(self, driver: Driver, root: str) -> None:
        """It creates, adds, and refuses a wrong position."""
        if not driver.capabilities.append:
            pytest.skip("no capability append")
        assert driver.append(f"{root}log", b"one", position=0) == 3
        assert driver.append(f"{root}log", b"two", position=3) == 6
        with pytest.raises(ChangedError):
            driver.append(f"{root}log", b"wrong", position=3)
        sink = Remember()
        driver.fetch(f"{root}log", sink)
        assert sink.data == b"onetwo"

    def test_move(self, driver: Driver, root: str) -> None:
        """Files and directories are renamed in one go."""
        if not driver.capabilities.move:
            pytest.skip("no capability move")
        driver.put(f"{root}d/a", b"x")
        driver.move(f"{root}d/", f"{root}e/")
        driver.move(f"{root}e/a", f"{root}e/b")
        found = [path for path in paths(driver, root, recursive=True) if path[-1] != "/"]
        assert found == [f"{root}e/b"]

    def test_what_is_not_declared_says_so(self, driver: Driver, root: str) -> None:
        """Methods without their capability raise UnsupportedError."""
        can = driver.capabilities
        if not can.multipart:
            with pytest.raises(UnsupportedError):
                driver.begin_upload(f"{root}a")
        if not can.append:
            with pytest.raises(UnsupportedError):
                driver.append(f"{root}a", b"", position=0)
        if not can.move:
            with pytest.raises(UnsupportedError):
                driver.move(f"{root}a", f"{root}b")


class UploadsTier(StorageBench):
    """Optional: uploads in parts."""

    @pytest.fixture
    def part(self, driver: Driver) -> bytes:
        """A part of the smallest size."""
        if not driver.capabilities.multipart:
            pytest.skip("no capability multipart")
        return os.urandom(1000) * (driver.capabilities.min_part_size // 1000 + 1)

    def test_parts_in_any_order(self, driver: Driver, root: str, part: bytes) -> None:
        """The number orders the parts; nothing is there before completion."""
        path = f"{root}a"
        upload = driver.begin_upload(path)
        last = driver.upload_part(path, upload, 2, b"the end")
        first = driver.upload_part(path, upload, 1, part)
        with pytest.raises(MoxFileNotExistsException):
            driver.stat(path)
        driver.complete_upload(path, upload, [first, last])
        sink = Remember()
        assert driver.fetch(path, sink).size == len(part) + 7
        same(sink.data, part + b"the end")

    def test_abort(self, driver: Driver, root: str, part: bytes) -> None:
        """An aborted upload leaves nothing, may be aborted twice, and cannot be completed."""
        path = f"{root}a"
        driver.put(path, b"old")
        upload = driver.begin_upload(path)
        etag = driver.upload_part(path, upload, 1, part)
        driver.abort_upload(path, upload)
        driver.abort_upload(path, upload)
        with pytest.raises(MoxFileNotExistsException):
            driver.complete_upload(path, upload, [etag])
        assert driver.stat(path).size == 3

    def test_parts_of_other_objects(self, driver: Driver, root: str, part: bytes) -> None:
        """copy_part takes a range."""
        if not driver.capabilities.part_copy:
            pytest.skip("no capability part_copy")
        driver.put(f"{root}source", b"12" + part)
        upload = driver.begin_upload(f"{root}a")
        first = driver.copy_part(f"{root}a", upload, 1, f"{root}source", start=2, length=len(part))
        last = driver.upload_part(f"{root}a", upload, 2, b"end")
        driver.complete_upload(f"{root}a", upload, [first, last])
        sink = Remember()
        driver.fetch(f"{root}a", sink)
        same(sink.data, part + b"end")
