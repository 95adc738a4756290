"""StorageSuite over s3://, through the data plane and through boto3 alone."""

from __future__ import annotations

import uuid
from typing import ClassVar

import pytest
from servers.limits import LimitedSuite

from mox_core.storage.auth import Settings
from mox_core.storage.driver import Driver, DriverFactory

pytest.importorskip("boto3")

from mox_storage_s3.driver import make_driver  # noqa: E402


class _S3(LimitedSuite):
    @pytest.fixture
    def factory(self) -> DriverFactory:
        return make_driver


class TestFake(_S3):
    """Our own server: checks V4 signatures, honours conditions."""

    @pytest.fixture
    def settings(self, store_settings: Settings) -> Settings:
        return store_settings

    @pytest.fixture
    def place(self) -> str:
        return "bucket/tests/"


class TestFakeSdk(TestFake):
    """Short pages, since boto3 takes a millisecond per request and the server another."""

    fast = "0"
    many = 61

    @pytest.fixture
    def settings(self, store_settings: Settings) -> Settings:
        return store_settings._replace(list_max_keys=25)


class TestMoto(_S3):
    """Amazon's semantics without signatures; slow, so that its pages are short."""

    many = 61
    cannot: ClassVar[dict[str, str]] = {
        "test_odd_names": "moto does not find a key with a line break again",
        "test_abort": "moto answers 500 to the completion of an aborted upload",
    }

    @pytest.fixture
    def settings(self, moto_settings: Settings) -> Settings:
        return moto_settings._replace(list_max_keys=25)

    @pytest.fixture
    def place(self, request: pytest.FixtureRequest) -> str:
        return f"bucket/{request.node.name[:60]}/"


class TestRclone(_S3):
    """A real server over a directory; it ignores conditions and cannot copy parts."""

    _MARKER = "rclone keeps the object `d/` as a file `d`"
    cannot: ClassVar[dict[str, str]] = {
        "test_up_across_and_down": _MARKER,
        "test_threads": _MARKER,
        "test_names_that_clash": "a directory of the server holds no file of the same name",
        "test_an_empty_directory": _MARKER,
        "test_make_directories": _MARKER,
        "test_list_levels": "rclone's HEAD has whole seconds, its listing has fractions",
        "test_directories": _MARKER,
    }

    @pytest.fixture
    def factory(self) -> DriverFactory:
        def make(scheme: str, settings: Settings) -> Driver:
            driver = make_driver(scheme, settings)
            driver.capabilities = driver.capabilities._replace(
                conditional_put=False, part_copy=False
            )
            return driver

        return make

    @pytest.fixture
    def settings(self, rclone_settings: Settings) -> Settings:
        return rclone_settings

    @pytest.fixture
    def place(self) -> str:
        return f"bucket/{uuid.uuid4().hex}/"
