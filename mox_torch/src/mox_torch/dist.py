"""MoXing's names for training in several processes: `mox.dist.*`.

Start the script with torchrun or `mox launch`. Averaging gradients is the engine's work, so nothing
here wraps the model.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from mox_core.flags import get_flag, registry
from mox_torch.distributed import join, local_rank
from mox_torch.flags import define_flags
from mox_torch.settings import read_settings

__all__ = ["AutoDataLoader", "AutoModule", "init_process_group", "rank", "world_size"]


def init_process_group(mp: bool = False, gpu: int | None = None) -> None:
    """Joins the other processes that were started, before `mox.run` does.

    Afterwards `mox.get_flag("rank")` is this process's number. Alone, it does nothing.

    Args:
        mp: accepted for scripts of MoXing; torchrun or `mox launch` start the processes.
        gpu: number of the GPU; None: this process's number on its machine.

    Raises:
        EngineError: the others do not answer.
    """
    define_flags(registry())
    if gpu is not None:
        registry().set_default("torch_device", f"cuda:{gpu}")
    join(read_settings(1, get_flag, local_rank(get_flag)).device, get_flag)
    registry().set_default("rank", rank())


def rank() -> int:
    """This process's number among those that train together."""
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def AutoModule(model: nn.Module) -> nn.Module:  # noqa: N802
    """Returns the model as it is: the engine moves it to its device and averages gradients."""
    return model


class AutoDataLoader(DataLoader[Any]):
    """A DataLoader of this process's part of a data set.

    Args:
        dataset: all of the data, in every process.
        batch_size: samples per step and process.
        shuffle: in another order in every epoch; call `set_epoch` for that, or leave it to
            `mox.run(input_data=...)`.
        options: further arguments of `torch.utils.data.DataLoader`.
    """

    def __init__(
        self, dataset: Dataset[Any], batch_size: int = 1, shuffle: bool = False, **options: Any
    ) -> None:
        self._part: DistributedSampler[Any] | None = None
        if world_size() > 1:
            self._part = DistributedSampler(dataset, shuffle=shuffle)
            options["sampler"], shuffle = self._part, False
        super().__init__(dataset, batch_size, shuffle, **options)

    def set_epoch(self, epoch: int) -> None:
        """Decides the order of the next epoch, the same way in all processes."""
        if self._part is not None:
            self._part.set_epoch(epoch)
