"""The TensorFlow engine."""

from __future__ import annotations

import logging

from mox_core.engine import (
    Capabilities,
    Cluster,
    Engine,
    EngineConfig,
    ProgramRequest,
    VariableInfo,
)
from mox_core.spec import ModeKeys
from mox_tf.checkpoint_files import CheckpointFiles
from mox_tf.devices import Placement, place_towers
from mox_tf.export import FORMATS
from mox_tf.graph import build_graph
from mox_tf.profiling import profile_range
from mox_tf.program import TensorFlowProgram
from mox_tf.tf1 import check_version, compile_on_cpu, tf, versions
from mox_tf.update_rules import UPDATE_FLAGS, UpdateRules, update_rules

__all__ = ["TensorFlowEngine"]


class TensorFlowEngine(Engine):
    """Builds graphs with `tensorflow.compat.v1` and runs them in sessions."""

    name = "tf"
    log_name = "tensorflow"
    capabilities = Capabilities(
        towers=True,
        inter_mode=True,
        multi_loss=True,
        auto_batch=True,
        summaries=True,
        mixed_precision=frozenset({"bfloat16", "float16"}),
        graph=True,
        export_formats=FORMATS,
        native_hooks="tf.train.SessionRunHook",
        flags=frozenset(
            {
                "clone_on_cpu",
                "local_parameter_device",
                "num_inter_threads",
                "num_intra_threads",
                "profile_steps",
                "variable_update",
                "xla",
            }
        )
        | UPDATE_FLAGS,
    )

    def __init__(self) -> None:
        self._placement = Placement()
        self._rules = UpdateRules()
        self._profile: tuple[int, int] | None = None

    def setup(self, config: EngineConfig) -> Cluster:
        """Finds a device for each tower.

        Raises:
            EngineError: this TensorFlow is too old, or a flag asks for what is not there.
        """
        logger = logging.getLogger(self.log_name)
        check_version(logger)
        if config.get_flag("xla"):
            compile_on_cpu()  # before TensorFlow looks for devices
        self._placement = place_towers(config.towers, config.get_flag, logger)
        self._rules = update_rules(config.get_flag)
        self._profile = profile_range(config.get_flag("profile_steps"))
        return Cluster()

    def build(self, request: ProgramRequest) -> TensorFlowProgram:
        """Calls the user's functions in a new graph."""
        exports = request.mode == ModeKeys.EXPORT
        placement = Placement() if exports else self._placement
        graph = build_graph(request, placement, self._rules)
        return TensorFlowProgram(request, graph, placement, None if exports else self._profile)

    def describe(self) -> dict[str, str]:
        """Versions and devices."""
        devices = tf.config.list_physical_devices()
        kinds = sorted({device.device_type for device in devices})
        counts = [f"{sum(d.device_type == k for d in devices)} x {k}" for k in kinds]
        return {**versions(), "devices": ", ".join(counts)}

    def read_checkpoint(self, prefix: str) -> list[VariableInfo] | None:
        """Describes a checkpoint that TensorFlow or TF-slim wrote."""
        files = CheckpointFiles.find(prefix)
        return None if files is None else files.infos()
