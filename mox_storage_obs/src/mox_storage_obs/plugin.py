"""Entry point of the `obs` driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mox_core.plugins import hookimpl

if TYPE_CHECKING:
    from mox_core.storage.driver import DriverFactory


@hookimpl
def mox_storage(scheme: str) -> DriverFactory | None:
    """Serves `obs://`, and `s3://` for those who have no other driver for it."""
    if scheme != "obs":
        return None
    from mox_storage_obs.driver import make_driver

    return make_driver
