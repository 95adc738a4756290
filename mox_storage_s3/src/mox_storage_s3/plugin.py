"""Entry point of the `s3` driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mox_core.plugins import hookimpl

if TYPE_CHECKING:
    from mox_core.storage.driver import DriverFactory


@hookimpl
def mox_storage(scheme: str) -> DriverFactory | None:
    """Serves `s3://`."""
    if scheme != "s3":
        return None
    from mox_storage_s3.driver import make_driver

    return make_driver
