"""The MXNet engine."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Mapping
from typing import Any

import numpy as np

from mox_core.engine import (
    Capabilities,
    Cluster,
    Engine,
    EngineConfig,
    ProgramRequest,
    VariableInfo,
)
from mox_core.flags import registry
from mox_mxnet.checkpoint_files import SUFFIX, read_arrays, write_arrays
from mox_mxnet.distributed import Group, join
from mox_mxnet.export import FORMATS
from mox_mxnet.flags import FLAG_NAMES, define_flags
from mox_mxnet.importing import load
from mox_mxnet.program import MXNetProgram
from mox_mxnet.settings import Settings, read_settings

__all__ = ["MXNetEngine"]

mx = load()


class MXNetEngine(Engine):
    """Calls native model functions in every step; runs neutral ones as symbols."""

    name = "mxnet"
    capabilities = Capabilities(
        towers=True,
        inter_mode=True,
        multi_loss=True,
        auto_batch=True,
        neutral=True,
        export_formats=FORMATS,
        distributed=frozenset({"parameter_server"}),
        flags=FLAG_NAMES
        | {
            "clone_on_cpu",
            "gradient_clip",
            "gradient_clip_type",
            "loss_scale",
            "trainable_exclude_patterns",
            "trainable_include_patterns",
        },
    )

    def __init__(self) -> None:
        self._settings = Settings()
        self._group: Group | None = None

    def setup(self, config: EngineConfig) -> Cluster:
        """Reads the flags, finds the devices, joins the other processes.

        Raises:
            EngineError: there are no such devices, or the environment is incomplete.
            FlagError: flags that do not go together.
        """
        define_flags(registry())
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        self._settings = read_settings(config.towers, config.get_flag, local_rank)
        contexts = self._settings.contexts
        if len(contexts) > 1 and contexts[0].device_type == "cpu":
            names = ", ".join(map(str, contexts))
            logging.getLogger(self.log_name).info(
                "%s stand in for GPUs: they share this machine's cores.", names
            )
        self._group = join(config.get_flag)
        if self._group is None:
            return Cluster()
        registry().set_default("rank", self._group.cluster.rank)
        return self._group.cluster

    def build(self, request: ProgramRequest) -> MXNetProgram:
        """Makes the program, which calls the user's functions once to see what they make."""
        return MXNetProgram(request, self._settings, self._group)

    def describe(self) -> dict[str, str]:
        """Versions and devices."""
        features = mx.runtime.Features()
        gpus = mx.context.num_gpus() if features.is_enabled("CUDA") else 0
        notable = ("MKLDNN", "OPENMP", "DIST_KVSTORE", "CUDA", "NCCL")
        return {
            "mxnet": mx.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "features": ", ".join(name for name in notable if features.is_enabled(name)),
            "devices": ", ".join(map(str, map(mx.gpu, range(gpus)))) or "cpu",
        }

    def read_checkpoint(self, prefix: str) -> list[VariableInfo] | None:
        """Describes a file of `mx.nd.save` that has no record of mox."""
        arrays = self.read_variables(prefix)
        if arrays is None:
            return None
        return [VariableInfo(name, a.shape, a.dtype.name) for name, a in arrays.items()]

    def read_variables(self, prefix: str) -> dict[str, Any] | None:
        """Reads a checkpoint for another engine."""
        return read_arrays(prefix) if os.path.isfile(prefix + SUFFIX) else None

    def write_variables(self, prefix: str, values: Mapping[str, Any]) -> None:
        """Writes another engine's variables as `mx.nd.save` does."""
        write_arrays(prefix, values)

    def close(self) -> None:
        """Lets go of the other processes."""
        self._group = None
