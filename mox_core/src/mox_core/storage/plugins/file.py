"""Entry point of the `file` driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mox_core.plugins import hookimpl

if TYPE_CHECKING:
    from mox_core.storage.driver import DriverFactory


@hookimpl
def mox_storage(scheme: str) -> DriverFactory | None:
    """Serves `file://`: local files."""
    from mox_core.storage.registry import BUILT_IN

    return BUILT_IN[scheme]() if scheme == "file" else None
