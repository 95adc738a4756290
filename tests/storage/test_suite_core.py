"""StorageSuite over the drivers of mox-core itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from mox_core.storage.auth import Settings
from mox_core.storage.driver import Driver, DriverFactory
from mox_core.storage.local import LocalDriver
from mox_core.storage.memory import MemoryDriver, MemoryStore
from mox_core.testing import StorageSuite


class TestLocal(StorageSuite):
    @pytest.fixture
    def factory(self) -> DriverFactory:
        return LocalDriver

    @pytest.fixture
    def place(self, tmp_path: Path) -> str:
        return f"{tmp_path}/place/"


class TestMemory(StorageSuite):
    @pytest.fixture
    def factory(self) -> DriverFactory:
        store = MemoryStore()

        def make(scheme: str, settings: Settings) -> Driver:
            return MemoryDriver(scheme, settings, store=store)

        return make

    @pytest.fixture
    def place(self) -> str:
        return "bucket/tests/"


class TestFsspecDirectory(StorageSuite):
    """An fsspec file system as a driver."""

    @pytest.fixture
    def factory(self) -> DriverFactory:
        pytest.importorskip("fsspec")
        from mox_core.storage.fsspec_driver import FsspecDriver

        return lambda scheme, settings: FsspecDriver("fsspec+local", settings)

    @pytest.fixture
    def place(self, tmp_path: Path) -> str:
        return f"{tmp_path}/place/"
