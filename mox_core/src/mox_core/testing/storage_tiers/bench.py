"""What the tiers of StorageSuite share: fixtures, and a sink that remembers."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest

from mox_core.storage.auth import Settings
from mox_core.storage.driver import Driver, DriverFactory, ObjectInfo
from mox_core.storage.registry import DRIVERS

__all__ = ["SCHEME", "Remember", "StorageBench", "paths"]

SCHEME = "suite"


class Remember:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.infos: list[ObjectInfo] = []
        self.data = b""

    def begin(self, info: ObjectInfo) -> None:
        """Keeps what describes the object."""
        self.infos.append(info)

    def write(self, chunk: memoryview) -> None:
        """Keeps a copy of the bytes."""
        assert self.infos, "write came before begin"
        self.data += bytes(chunk)


def paths(driver: Driver, prefix: str, *, recursive: bool) -> list[str]:
    """All paths of a listing, sorted; each may come once only."""
    found = [info.path for page in driver.list(prefix, recursive=recursive) for info in page]
    assert len(found) == len(set(found)), "a path was listed twice"
    return sorted(found)


class StorageBench:
    """The fixtures that a test class gives, and what follows from them."""

    many = 1101
    """Objects in the tests of long listings: more than a page. Slow servers set `list_max_keys`
    in their settings, and fewer objects here."""

    @pytest.fixture
    def factory(self) -> DriverFactory:
        """The driver under test, as its plugin gives it."""
        raise NotImplementedError("give a fixture `factory` that returns the DriverFactory")

    @pytest.fixture
    def settings(self) -> Settings:
        """How to reach the store."""
        return Settings()

    @pytest.fixture
    def place(self) -> str:
        """A directory where the tests may write, such as `bucket/tests/`."""
        raise NotImplementedError("give a fixture `place` that returns 'bucket/directory/'")

    @pytest.fixture
    def driver(self, factory: DriverFactory, settings: Settings) -> Iterator[Driver]:
        """A driver of the class's own."""
        driver = factory(SCHEME, settings)
        yield driver
        driver.close()

    @pytest.fixture
    def root(self, place: str, driver: Driver) -> Iterator[str]:
        """A directory of the test's own, removed afterwards."""
        from mox_core.storage import tree

        root = f"{place}{uuid.uuid4().hex}/"
        if driver.capabilities.directories:
            driver.put(root, b"")
        yield root
        tree.delete_directory(driver, root)

    @pytest.fixture
    def url(self, root: str, driver: Driver) -> Iterator[str]:
        """The same directory as a URL, for the functions of mox.file."""
        with DRIVERS.serving(SCHEME, driver):
            yield f"{SCHEME}://{root.rstrip('/')}"

    @pytest.fixture
    def small_parts(self, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> int:
        """The part size, set to the smallest that the store takes."""
        size = max(1 << 16, driver.capabilities.min_part_size)
        monkeypatch.setitem(os.environ, "MOX_FILE_LARGE_FILE_PART_SIZE", str(size))
        return size
