"""StorageSuite notices drivers that break the contract."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FAULTY = """
from __future__ import annotations

import pytest

from mox_core.storage.driver import ObjectInfo
from mox_core.storage.errors import ChangedError, MoxFileNotExistsException
from mox_core.storage.memory import MemoryDriver, MemoryStore
from mox_core.storage.auth import Settings
from mox_core.testing import StorageSuite
from mox_core.testing.storage_tiers.copies import CopiesTier
from mox_core.testing.storage_tiers.file_objects import FileObjectsTier
from mox_core.testing.storage_tiers.files import FilesTier, NamesTier
from mox_core.testing.storage_tiers.objects import ObjectsTier, UploadsTier

TIERS = ObjectsTier, UploadsTier, CopiesTier, FileObjectsTier, FilesTier, NamesTier
assert set(StorageSuite.__bases__) == set(TIERS)


class Bench:
    driver_class = MemoryDriver
    many = 25

    @pytest.fixture
    def settings(self):
        return Settings(list_max_keys=10)

    @pytest.fixture
    def factory(self):
        store = MemoryStore()
        return lambda scheme, settings: self.driver_class(scheme, settings, store=store)

    @pytest.fixture
    def place(self):
        return "bucket/tests/"


class Suite(Bench, ObjectsTier, UploadsTier):
    pass


class ReadsOneByteTooFew(MemoryDriver):
    def fetch(self, path, sink, *, start=0, length=None, etag=""):
        size = self.stat(path).size
        length = size - start if length is None else length
        return super().fetch(path, sink, start=start, length=max(0, length - 1), etag=etag)


class IgnoresTheVersion(MemoryDriver):
    def fetch(self, path, sink, *, start=0, length=None, etag=""):
        return super().fetch(path, sink, start=start, length=length)


class ListsOnePage(MemoryDriver):
    def list(self, prefix, *, recursive, limit=0):
        for page in super().list(prefix, recursive=recursive, limit=limit):
            yield page
            return


class ListsDeepLevelsTwice(MemoryDriver):
    def list(self, prefix, *, recursive, limit=0):
        for page in super().list(prefix, recursive=recursive, limit=limit):
            yield [*page, *(info for info in page if info.is_dir)]


class ConfusesPrefixAndName(MemoryDriver):
    def stat(self, path):
        for name in sorted(self.store.objects):
            if name.startswith(path):
                return self.store.objects[name].info
        return super().stat(path)


class CannotDeleteTwice(MemoryDriver):
    def delete_many(self, paths):
        failures = [
            (path, MoxFileNotExistsException(path))
            for path in paths
            if path not in self.store.objects
        ]
        return [*super().delete_many(paths), *failures]


class ForgetsConditions(MemoryDriver):
    def put(self, path, body, *, if_match="", if_absent=False):
        return super().put(path, body)


class JoinsPartsAsTheyCame(MemoryDriver):
    def complete_upload(self, path, upload, parts):
        kept = self._parts(path, upload)
        self.store.uploads[upload] = dict(enumerate(kept.values(), 1))
        return super().complete_upload(path, upload, parts)


class AppendsAnywhere(MemoryDriver):
    def append(self, path, body, *, position):
        found = self.store.objects.get(path)
        return super().append(path, body, position=len(found.data) if found else 0)


class MovesTheSource(MemoryDriver):
    def copy(self, source, target, *, etag=""):
        info = super().copy(source, target, etag=etag)
        if source != target:
            self.delete_many([source])
        return info


class SwallowsErrorsOfTheSink(MemoryDriver):
    def fetch(self, path, sink, **kwargs):
        try:
            return super().fetch(path, sink, **kwargs)
        except OSError as error:
            if isinstance(error, MoxFileNotExistsException):
                raise
            return self.stat(path)


class HidesMarkers(MemoryDriver):
    def list(self, prefix, *, recursive, limit=0):
        for page in super().list(prefix, recursive=recursive, limit=limit):
            yield [info for info in page if info.path not in self.store.objects or not info.is_dir]


class CountsFromZero(MemoryDriver):
    def fetch(self, path, sink, *, start=0, length=None, etag=""):
        return super().fetch(path, sink, start=0, length=length, etag=etag)


class LosesEmptyFiles(MemoryDriver):
    def put(self, path, body, *, if_match="", if_absent=False):
        if len(body) or path.endswith("/"):
            return super().put(path, body, if_match=if_match, if_absent=if_absent)
        return ObjectInfo(path)


class TakesPlusForSpace(MemoryDriver):
    def list(self, prefix, *, recursive, limit=0):
        for page in super().list(prefix, recursive=recursive, limit=limit):
            yield [info._replace(path=info.path.replace("+", " ")) for info in page]


class TestMemoryDriverNames(Bench, NamesTier): ...
class TestMemoryDriverFiles(Bench, FilesTier): ...
class TestMemoryDriverFileObjects(Bench, FileObjectsTier): ...
class TestMemoryDriverCopies(Bench, CopiesTier): ...
class TestTakesPlusForSpaceNames(Bench, NamesTier): driver_class = TakesPlusForSpace
class TestHidesMarkersFiles(Bench, FilesTier): driver_class = HidesMarkers
class TestCountsFromZeroFileObjects(Bench, FileObjectsTier): driver_class = CountsFromZero
class TestLosesEmptyFilesCopies(Bench, CopiesTier): driver_class = LosesEmptyFiles
"""
TIERS = {
    "TakesPlusForSpaceNames",
    "HidesMarkersFiles",
    "CountsFromZeroFileObjects",
    "LosesEmptyFilesCopies",
}
ALL = [
    line.split()[1].partition("(")[0] for line in FAULTY.splitlines() if "(MemoryDriver)" in line
]
NAMES = [name for name in ALL if not any(tier.startswith(name) for tier in TIERS)]


def test_every_faulty_driver_fails(tmp_path: Path) -> None:
    classes = "".join(
        f"\n\nclass Test{name}(Suite):\n    driver_class = {name}\n"
        for name in ["MemoryDriver", *NAMES]
    )
    script = tmp_path / "test_faulty.py"
    script.write_text(FAULTY + classes)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-qrf", "--tb=no", "-p", "no:cacheprovider", str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=250,
        env={**os.environ, "CI": "1"},  # where pytest tells most about what differs
    )  # fmt: skip
    failed = {
        line.split("::")[1].removeprefix("Test")
        for line in done.stdout.splitlines()
        if line.startswith("FAILED")
    }
    assert failed == {*NAMES, *TIERS}, done.stdout[-3000:] + done.stderr
