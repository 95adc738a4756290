"""What the flags say about devices, precision and gradients."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mox_core.errors import EngineError, FlagError
from mox_core.patterns import is_trainable
from mox_core.update_flags import Clip, read_clip, read_loss_scale

__all__ = ["Settings", "read_settings"]

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Settings:
    """How a program computes.

    Args:
        device: of variables and steps.
        towers: calls of model_fn in a step, one after the other.
        accumulate: batches per tower and step.
        autocast: the type of `torch.autocast`, or None.
        loss_scale: factor of the loss while gradients are computed; None: found while training.
        clip: limit of the gradients, or None.
        compile: compile the modules of `mox.module`.
        channels_last: keep images and kernels in NHWC order.
        trainable: name -> whether the flags let a variable be trained.
    """

    device: torch.device = torch.device("cpu")
    towers: int = 1
    accumulate: int = 1
    autocast: torch.dtype | None = None
    loss_scale: float | None = 1.0
    clip: Clip | None = None
    compile: bool = False
    channels_last: bool = False
    trainable: Callable[[str], bool] = lambda name: True

    def adopt(self, module: nn.Module) -> nn.Module:
        """Does to a new module what these settings ask for."""
        if self.channels_last:
            module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.compile:
            module.compile()
        return module


def read_settings(towers: int, get_flag: Callable[[str], Any], local_rank: int) -> Settings:
    """Reads the flags.

    Args:
        towers: how many were asked for.
        get_flag: reads a flag.
        local_rank: this process's number on its machine.

    Raises:
        EngineError: a device that is not there.
        FlagError: flags that do not go together.
    """
    device = _device(get_flag("torch_device"), local_rank, on_cpu=get_flag("clone_on_cpu"))
    if device.type != "cpu" and towers > 1:
        raise EngineError(
            f"engine 'torch' uses one GPU per process, but --num_gpus is {towers}.\n"
            f"  Start one process for each:  torchrun --nproc-per-node {towers} SCRIPT"
        )
    accumulate = get_flag("torch_accumulate_steps")
    if accumulate < 1:
        raise FlagError(f"--torch_accumulate_steps is {accumulate}; give 1 or more.")
    return Settings(
        device=device,
        towers=towers,
        accumulate=accumulate,
        autocast=_autocast(get_flag),
        loss_scale=read_loss_scale(get_flag),
        clip=read_clip(get_flag),
        compile=get_flag("torch_compile"),
        channels_last=get_flag("torch_channels_last"),
        trainable=is_trainable(get_flag),
    )


def _device(wanted: str, local_rank: int, *, on_cpu: bool) -> torch.device:
    if wanted == "auto":
        use_cuda = torch.cuda.is_available() and not on_cpu
        return torch.device("cuda", local_rank) if use_cuda else torch.device("cpu")
    if wanted == "cpu":
        return torch.device("cpu")
    found = re.fullmatch(r"cuda(?::(\d+))?", wanted)
    if not found:
        raise FlagError(f"--torch_device is {wanted!r}; give auto, cpu, cuda or cuda:N.")
    number = int(found.group(1) or local_rank)
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if number >= there:
        raise EngineError(
            f"--torch_device is {wanted!r}, but this PyTorch ({torch.__version__}) finds {there} "
            "CUDA devices.\n  Leave the flag out to compute on the CPU."
        )
    return torch.device("cuda", number)


def _autocast(get_flag: Callable[[str], Any]) -> torch.dtype | None:
    name = get_flag("torch_autocast")
    if get_flag("use_fp16"):
        if name == "bf16":
            raise FlagError("--use_fp16 and --torch_autocast bf16 are both given; remove one.")
        name = "fp16"
    return _DTYPES[name] if name else None
