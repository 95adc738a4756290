"""StorageSuite over obs://, in both dialects, through the data plane and through the SDK alone."""

from __future__ import annotations

import pytest
from servers.object_store import ObjectStore

from mox_core.storage.auth import Settings
from mox_core.storage.driver import DriverFactory
from mox_core.testing import StorageSuite

pytest.importorskip("obs")

from mox_storage_obs.driver import make_driver  # noqa: E402


class _Obs(StorageSuite):
    fast = "1"
    dialect = ""

    @pytest.fixture(autouse=True)
    def way(
        self, monkeypatch: pytest.MonkeyPatch, localhost_names: None, object_store: ObjectStore
    ) -> object:
        monkeypatch.setenv("MOX_FILE_FASTPATH", self.fast)
        yield
        assert object_store.schemes <= {self.dialect}

    @pytest.fixture
    def factory(self) -> DriverFactory:
        return make_driver

    @pytest.fixture
    def place(self) -> str:
        return "bucket/tests/"


class TestObs(_Obs):
    """The bucket in the host name: OBS's own signature and headers."""

    dialect = "OBS"

    @pytest.fixture
    def settings(self, store_settings: Settings) -> Settings:
        return store_settings._replace(server="localhost")


class TestObsSdk(TestObs):
    fast = "0"


class TestV2(_Obs):
    """An address as server: the older S3 dialect."""

    dialect = "AWS"

    @pytest.fixture
    def settings(self, store_settings: Settings) -> Settings:
        return store_settings
