"""The PyTorch engine."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import Any

import torch

from mox_core.engine import (
    Capabilities,
    Cluster,
    Engine,
    EngineConfig,
    ProgramRequest,
    VariableInfo,
)
from mox_core.flags import registry
from mox_torch.checkpoint_files import SUFFIX, read_tensors, write_tensors
from mox_torch.distributed import Group, join, local_rank
from mox_torch.export import FORMATS
from mox_torch.flags import FLAG_NAMES, define_flags
from mox_torch.model import to_numpy
from mox_torch.program import TorchProgram
from mox_torch.settings import Settings, read_settings

__all__ = ["TorchEngine"]


class TorchEngine(Engine):
    """Calls model_fn in every step, with modules and tensors of PyTorch."""

    name = "torch"
    capabilities = Capabilities(
        towers=True,
        inter_mode=True,
        multi_loss=True,
        auto_batch=True,
        neutral=True,
        export_formats=FORMATS,
        distributed=frozenset({"all_reduce"}),
        mixed_precision=frozenset({"float16", "bfloat16"}),
        flags=FLAG_NAMES
        | {
            "clone_on_cpu",
            "gradient_clip",
            "gradient_clip_type",
            "loss_scale",
            "num_intra_threads",
            "session_timeout",
            "trainable_exclude_patterns",
            "trainable_include_patterns",
            "use_fp16",
        },
    )

    def __init__(self) -> None:
        self._settings = Settings()
        self._threads: int | None = None
        self._group: Group | None = None

    def setup(self, config: EngineConfig) -> Cluster:
        """Reads the flags, finds the device, joins the other processes.

        Raises:
            EngineError: there is no such device, or the others do not answer.
            FlagError: flags that do not go together.
        """
        define_flags(registry())
        self._settings = read_settings(config.towers, config.get_flag, local_rank(config.get_flag))
        threads = config.get_flag("num_intra_threads")
        if threads:
            self._threads = torch.get_num_threads()
            torch.set_num_threads(threads)
        self._group = join(self._settings.device, config.get_flag)
        if self._group is None:
            return Cluster()
        registry().set_default("rank", self._group.cluster.rank)
        return self._group.cluster

    def build(self, request: ProgramRequest) -> TorchProgram:
        """Makes the program, which calls the user's functions once to see what they make."""
        return TorchProgram(request, self._settings, self._group)

    def describe(self) -> dict[str, str]:
        """Versions and devices."""
        cuda = torch.cuda.is_available()
        devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return {
            "torch": torch.__version__,
            "python": platform.python_version(),
            "cuda": str(torch.version.cuda),
            "devices": ", ".join(devices) if cuda else "cpu",
            "threads": str(torch.get_num_threads()),
        }

    def read_checkpoint(self, prefix: str) -> list[VariableInfo] | None:
        """Describes a safetensors file that has no record of mox."""
        if not os.path.isfile(prefix + SUFFIX):
            return None
        tensors, _ = read_tensors(prefix)
        return [
            VariableInfo(name, tuple(t.shape), str(t.dtype).removeprefix("torch."))
            for name, t in tensors.items()
        ]

    def read_variables(self, prefix: str) -> dict[str, Any] | None:
        """Reads a checkpoint for another engine."""
        if not os.path.isfile(prefix + SUFFIX):
            return None
        tensors, _ = read_tensors(prefix)
        return {name: to_numpy(tensor) for name, tensor in tensors.items()}

    def write_variables(self, prefix: str, values: Mapping[str, Any]) -> None:
        """Writes another engine's variables as safetensors."""
        write_tensors(prefix, {name: torch.tensor(value) for name, value in values.items()}, {})

    def close(self) -> None:
        """Gives the number of threads back, and leaves the other processes."""
        if self._group is not None:
            self._group.close()
            self._group = None
        if self._threads is not None:
            torch.set_num_threads(self._threads)
            self._threads = None
