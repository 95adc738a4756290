"""Where the operations of each tower and the variables are placed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from mox_core.errors import EngineError
from mox_tf.copies import TowerCopies
from mox_tf.tf1 import tf

__all__ = ["HERE", "INPUT_DEVICE", "Placement", "place_towers"]

INPUT_DEVICE = "/cpu:0"

HERE: ContextVar[str] = ContextVar("mox_tf_here", default="/cpu:0")
"""The CPU of this process, which alone can call its functions in Python."""

VARIABLE_OPS = frozenset({"VarHandleOp", "Variable", "VariableV2", "AutoReloadVariable"})


@dataclass(frozen=True)
class Placement:
    """Devices of a program.

    Args:
        towers: device of each tower; None for a single tower that TensorFlow places.
        parameters: device of the variables that the towers share.
        cpus: how many logical CPU devices the session has.
        inter_threads: threads that run operations; 0: automatic.
        intra_threads: threads inside one operation; 0: automatic.
        prefetch_threads: threads that read the input ahead.
        variable_update: how towers come by the variables: `"parameter_server"` (they share them),
            `"replicated"` (each has its own, the first tower's are the ones that are saved) or
            `"distributed_replicated"` (each has a copy of those on the parameter device).
        xla: compile with XLA what can be.
        fp16: compute in half precision what TensorFlow's automatic mixed precision knows to be
            safe: in float16 on GPUs, in bfloat16 on CPUs.
    """

    towers: tuple[str | None, ...] = (None,)
    parameters: str = "/cpu:0"
    cpus: int = 1
    inter_threads: int = 0
    intra_threads: int = 0
    prefetch_threads: int = 1
    variable_update: str = "parameter_server"
    xla: bool = False
    fp16: bool = False

    @property
    def replicated(self) -> bool:
        """True when each tower updates variables of its own."""
        return self.variable_update == "replicated" and len(self.towers) > 1

    @property
    def distinct_gpus(self) -> bool:
        """True when each tower has a GPU to itself."""
        return len(self.towers) > 1 and all("gpu" in str(device).lower() for device in self.towers)

    def copies(self) -> list[TowerCopies | None]:
        """For each tower its copies of the variables, or None where it has no own."""
        first = 1 if self.variable_update == "replicated" else 0
        if self.variable_update == "parameter_server":
            first = len(self.towers)
        return [
            TowerCopies(index, device) if index >= first else None
            for index, device in enumerate(self.towers)
        ]

    def tower_scope(self, index: int) -> AbstractContextManager[Any]:
        """The device scope in which a tower is built."""
        device = self.towers[index]
        if device is None:
            return nullcontext()
        variables = device if self.replicated else self.parameters
        scope: AbstractContextManager[Any] = tf.device(_device_function(device, variables))
        return scope

    def parameter_scope(self) -> AbstractContextManager[Any]:
        """The device scope of what is done once for all towers: means, updates."""
        if len(self.towers) == 1:
            return nullcontext()
        scope: AbstractContextManager[Any] = tf.device(self.parameters)
        return scope

    def session_config(self) -> Any:
        """The `ConfigProto` of a session that has these devices."""
        config = tf.ConfigProto(
            allow_soft_placement=True,
            device_count={"CPU": self.cpus},
            inter_op_parallelism_threads=self.inter_threads,
            intra_op_parallelism_threads=self.intra_threads,
        )
        config.gpu_options.allow_growth = True
        if self.xla:
            config.graph_options.optimizer_options.global_jit_level = tf.OptimizerOptions.ON_1
        if self.fp16:
            rewrite = config.graph_options.rewrite_options
            rewrite.auto_mixed_precision = rewrite.ON
            # On CPUs; its float16 for them, auto_mixed_precision_cpu, ends the process.
            rewrite.auto_mixed_precision_onednn_bfloat16 = rewrite.ON
        return config


def place_towers(towers: int, get_flag: Callable[[str], Any], logger: logging.Logger) -> Placement:
    """Gives each tower a GPU, or a logical CPU device where there are too few GPUs.

    Args:
        towers: how many.
        get_flag: reads the flags that shape a `Placement`.
        logger: is told when CPUs stand in for GPUs.

    Raises:
        EngineError: a flag does not fit.
    """
    options = {
        "inter_threads": get_flag("num_inter_threads"),
        "intra_threads": get_flag("num_intra_threads"),
        "prefetch_threads": _prefetch_threads(get_flag("num_prefetch_threads")),
        "variable_update": get_flag("variable_update"),
        "xla": get_flag("xla"),
        "fp16": get_flag("use_fp16"),
    }
    gpus = len(tf.config.list_physical_devices("GPU"))
    on_cpu = get_flag("clone_on_cpu") or gpus < towers
    if towers == 1:
        return Placement(("/cpu:0" if get_flag("clone_on_cpu") and gpus else None,), **options)
    if on_cpu and not get_flag("clone_on_cpu"):
        logger.info("%d GPUs for %d towers: logical CPU devices stand in for them.", gpus, towers)
    kind = "cpu" if on_cpu else "gpu"
    return Placement(
        towers=tuple(f"/{kind}:{index}" for index in range(towers)),
        parameters="/gpu:0" if get_flag("local_parameter_device") == "gpu" and gpus else "/cpu:0",
        cpus=towers if on_cpu else 1,
        **options,
    )


def _prefetch_threads(count: int) -> int:
    if count < 1:
        raise EngineError(f"--num_prefetch_threads is {count}; it has to be 1 or more.")
    return count


def _device_function(operations: str, variables: str) -> Callable[[Any], str]:
    def device_of(op: Any) -> str:
        default = variables if op.type in VARIABLE_OPS else operations
        spec = tf.DeviceSpec.from_string(default)
        spec.merge_from(tf.DeviceSpec.from_string(op.device))
        device: str = spec.to_string()
        return device

    return device_of
