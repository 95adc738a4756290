"""StorageSuite: the tests that every storage driver has to pass.

An author's whole test file:

    import pytest
    from mox_core.storage.auth import Settings
    from mox_core.testing import StorageSuite

    class TestMyDriver(StorageSuite):
        @pytest.fixture
        def factory(self):
            return MyDriver

        @pytest.fixture
        def settings(self):
            return Settings(server="127.0.0.1:9000", ak="...", sk="...")

        @pytest.fixture
        def place(self):
            return "bucket/tests/"

Tests of what the driver does not declare in its `Capabilities` are skipped, and say so.
"""

from __future__ import annotations

import pytest

_TIERS = ("bench", "copies", "file_objects", "files", "objects")
# Before they are imported: a failing assert then shows its values in an author's test run, too.
pytest.register_assert_rewrite(*(f"mox_core.testing.storage_tiers.{tier}" for tier in _TIERS))

from mox_core.testing.storage_tiers.copies import CopiesTier  # noqa: E402
from mox_core.testing.storage_tiers.file_objects import FileObjectsTier  # noqa: E402
from mox_core.testing.storage_tiers.files import FilesTier, NamesTier  # noqa: E402
from mox_core.testing.storage_tiers.objects import ObjectsTier, UploadsTier  # noqa: E402

__all__ = ["StorageSuite"]


class StorageSuite(ObjectsTier, UploadsTier, FilesTier, NamesTier, CopiesTier, FileObjectsTier):
    """Tests of one driver. See this module for the fixtures that a class must give."""
