"""The flags that only this engine has."""

from __future__ import annotations

from mox_core.flags import FlagRegistry
from mox_core.flags.flag import Flag

__all__ = ["FLAG_NAMES", "define_flags"]

_GROUP = "MXNet"

_FLAGS = (
    Flag(
        "mxnet_device",
        str,
        "auto",
        "auto: GPUs if this MXNet has them; cpu; gpu",
        _GROUP,
        choices=("auto", "cpu", "gpu"),
    ),
    Flag(
        "mxnet_kvstore",
        str,
        "auto",
        "what adds up the gradients of several contexts in a process; auto: device on GPUs",
        _GROUP,
        choices=("auto", "local", "device"),
    ),
)

FLAG_NAMES = frozenset(flag.name for flag in _FLAGS)


def define_flags(registry: FlagRegistry) -> None:
    """Adds the flags to a registry; again does nothing."""
    for flag in _FLAGS:
        registry.define(flag)
