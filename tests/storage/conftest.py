from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from servers.fixtures import *  # noqa: F403, E402


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "data_plane: shows what the data plane does itself")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """`MOX_FILE_FASTPATH=0 pytest tests/storage` runs all tests over the SDKs, but for these."""
    if item.get_closest_marker("data_plane") and os.environ.get("MOX_FILE_FASTPATH") == "0":
        pytest.skip("shows what the data plane does itself, which is switched off")
