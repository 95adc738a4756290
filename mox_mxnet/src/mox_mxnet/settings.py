"""What the flags say about devices and gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mox_core.errors import EngineError, FlagError
from mox_core.patterns import is_trainable
from mox_core.update_flags import Clip, read_clip, read_loss_scale
from mox_mxnet.importing import load

__all__ = ["Settings", "read_settings"]

mx = load()


@dataclass(frozen=True)
class Settings:
    """How a program computes.

    Args:
        contexts: one for each tower.
        kvstore: what adds up the gradients of several contexts.
        loss_scale: factor of the loss while gradients are computed.
        clip: limit of the gradients, or None.
        trainable: name -> whether the flags let a variable be trained.
    """

    contexts: list[Any] = field(default_factory=lambda: [mx.cpu()])
    kvstore: str = "local"
    loss_scale: float = 1.0
    clip: Clip | None = None
    trainable: Callable[[str], bool] = lambda name: True


def read_settings(towers: int, get_flag: Callable[[str], Any], local_rank: int = 0) -> Settings:
    """Reads the flags.

    Args:
        towers: how many were asked for.
        get_flag: reads a flag.
        local_rank: this process's number on its machine.

    Raises:
        EngineError: devices that are not there.
        FlagError: flags that do not go together, or that MXNet cannot follow.
    """
    if get_flag("use_fp16"):
        raise FlagError(
            "--use_fp16: MXNet 1.9.1 has no training in half precision that works on CPUs, and "
            "none was tried on GPUs.\n  Leave it out."
        )
    scale = read_loss_scale(get_flag)
    if scale is None:
        raise FlagError("--loss_scale dynamic needs half precision, which engine 'mxnet' lacks.")
    contexts = _contexts(towers, get_flag, local_rank)
    kvstore = get_flag("mxnet_kvstore")
    if kvstore == "auto":
        kvstore = "device" if contexts[0].device_type == "gpu" else "local"
    return Settings(
        contexts=contexts,
        kvstore=kvstore,
        loss_scale=scale,
        clip=read_clip(get_flag),
        trainable=is_trainable(get_flag),
    )


def _contexts(towers: int, get_flag: Callable[[str], Any], local_rank: int) -> list[Any]:
    wanted = get_flag("mxnet_device")
    there = mx.context.num_gpus() if mx.runtime.Features().is_enabled("CUDA") else 0
    if wanted == "auto":
        wanted = "gpu" if there and not get_flag("clone_on_cpu") else "cpu"
    if wanted == "cpu":
        return [mx.cpu(number) for number in range(towers)]
    first = local_rank * towers
    if first + towers > there:
        raise EngineError(
            f"{towers} GPUs are asked for, from number {first} on, but this MXNet "
            f"({mx.__version__}) finds {there}.\n"
            "  Use --mxnet_device cpu, or an MXNet for GPUs (mxnet-cu112)."
        )
    return [mx.gpu(first + number) for number in range(towers)]
