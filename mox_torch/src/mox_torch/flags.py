"""The flags that only this engine has."""

from __future__ import annotations

from mox_core.flags import FlagRegistry
from mox_core.flags.flag import Flag

__all__ = ["FLAG_NAMES", "define_flags"]

_GROUP = "PyTorch"

_FLAGS = (
    Flag("torch_device", str, "auto", "auto, cpu, cuda or cuda:N; auto: CUDA if there is", _GROUP),
    Flag(
        "torch_autocast",
        str,
        "",
        "compute in this type where PyTorch holds it to be safe",
        _GROUP,
        choices=("", "bf16", "fp16"),
    ),
    Flag("torch_compile", bool, False, "compile the modules of mox.module", _GROUP),
    Flag("torch_channels_last", bool, False, "keep images and kernels in NHWC order", _GROUP),
    Flag("torch_accumulate_steps", int, 1, "batches per tower whose gradients a step uses", _GROUP),
)

FLAG_NAMES = frozenset(flag.name for flag in _FLAGS)


def define_flags(registry: FlagRegistry) -> None:
    """Adds the flags to a registry; again does nothing."""
    for flag in _FLAGS:
        registry.define(flag)
