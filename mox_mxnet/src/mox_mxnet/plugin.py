"""The entry point of engine `mxnet` in group `mox.engines`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mox_core.plugins import hookimpl

if TYPE_CHECKING:
    from mox_core.engine import Engine
    from mox_core.flags import FlagRegistry
    from mox_core.launching import LaunchProcess, LaunchRequest


@hookimpl
def mox_engine(name: str) -> Engine | None:
    """Makes the MXNet engine."""
    if name != "mxnet":
        return None
    from mox_mxnet.engine import MXNetEngine

    return MXNetEngine()


@hookimpl
def mox_add_flags(registry: FlagRegistry) -> None:
    """Defines the flags that only this engine has."""
    from mox_mxnet.flags import define_flags

    define_flags(registry)


@hookimpl
def mox_launch(request: LaunchRequest) -> Sequence[LaunchProcess]:
    """A scheduler, servers and workers of MXNet's kvstore."""
    from mox_mxnet.launch import processes

    return processes(request)
