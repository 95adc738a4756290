"""StorageSuite on Ceph's radosgw: signatures V4 and V2, every legal key (`nox -s tests_ceph`)."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from servers.ceph import TOOLS, radosgw
from servers.limits import LimitedSuite
from servers.object_store import ACCESS_KEY, SECRET_KEY

from mox_core.storage.auth import Settings
from mox_core.storage.driver import DriverFactory

pytest.importorskip("boto3")
pytest.importorskip("obs")

if not os.environ.get("MOX_TEST_CEPH"):
    pytest.skip("a Ceph cluster takes long to start: set MOX_TEST_CEPH=1", allow_module_level=True)

import mox_storage_obs.driver  # noqa: E402
import mox_storage_s3.driver  # noqa: E402
from mox_storage_s3.sdk import make_client  # noqa: E402


@pytest.fixture(scope="module")
def ceph_settings() -> Iterator[Settings]:
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    with (
        tempfile.TemporaryDirectory(prefix="mox-", dir="/tmp") as folder,
        radosgw(Path(folder), ACCESS_KEY, SECRET_KEY) as port,
    ):
        settings = Settings(
            ak=ACCESS_KEY, sk=SECRET_KEY, server="127.0.0.1", port=port, is_secure=False
        )
        client = make_client(settings)
        client.create_bucket(Bucket="bucket")
        client.close()
        yield settings


class _Ceph(LimitedSuite):
    many = 1101
    cannot: ClassVar[dict[str, str]] = {
        "test_abort": "Ceph answers 500 to the completion of an aborted upload",
        "test_list_levels": "Ceph's HEAD has whole seconds, its listing has fractions",
    }

    @pytest.fixture
    def settings(self, ceph_settings: Settings) -> Settings:
        return ceph_settings

    @pytest.fixture
    def place(self) -> str:
        return f"bucket/{uuid.uuid4().hex}/"


class TestV4(_Ceph):
    @pytest.fixture
    def factory(self) -> DriverFactory:
        return mox_storage_s3.driver.make_driver


class TestV4Sdk(TestV4):
    fast = "0"
    many = 61


class TestV2(_Ceph):
    @pytest.fixture
    def factory(self) -> DriverFactory:
        return mox_storage_obs.driver.make_driver
