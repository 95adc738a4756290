"""The TensorFlow engine."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mox_core.engine import (
    Capabilities,
    Cluster,
    Engine,
    EngineConfig,
    ProgramRequest,
    VariableInfo,
)
from mox_core.spec import ModeKeys
from mox_tf.checkpoint_files import CheckpointFiles, write_checkpoint
from mox_tf.cluster.announce import announce
from mox_tf.cluster.board import OVER, failure_of
from mox_tf.cluster.building import build_cluster_program, check_cluster
from mox_tf.cluster.program import ClusterProgram, WorkerTask
from mox_tf.cluster.server import start_server
from mox_tf.cluster.serving import serve
from mox_tf.cluster.spec import PS, ClusterSpec
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
        neutral=True,
        mixed_precision=frozenset({"bfloat16", "float16"}),
        graph=True,
        export_formats=FORMATS,
        distributed=frozenset({"parameter_server"}),
        native_hooks="tf.train.SessionRunHook",
        flags=frozenset(
            {
                "clone_on_cpu",
                "local_parameter_device",
                "num_inter_threads",
                "num_intra_threads",
                "num_prefetch_threads",
                "profile_steps",
                "server_protocol",
                "session_timeout",
                "sync_replicas",
                "use_fp16",
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
        self._task: WorkerTask | None = None
        self._program: ClusterProgram | None = None

    def setup(self, config: EngineConfig) -> Cluster:
        """Finds a device for each tower, and this process's place in the cluster.

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
        spec = ClusterSpec.from_flags(config.get_flag)
        if spec is None:
            return Cluster()
        return self._join(spec, config, logger)

    def _join(self, spec: ClusterSpec, config: EngineConfig, logger: logging.Logger) -> Cluster:
        """Serves, as a parameter server, until the job is over; else takes the worker's place."""
        cluster = Cluster(spec.index, len(spec.workers))
        if config.mode != ModeKeys.TRAIN:
            # Two of them would do the same work and write to the same files.
            if not spec.is_chief:
                logger.info("Mode %s runs on worker 0; nothing to do here.", config.mode)
            return replace(cluster, takes_part=spec.is_chief)
        check_cluster(spec, self._placement, self._rules)
        server = start_server(
            spec, config.get_flag("server_protocol"), self._placement.session_config()
        )
        if spec.job == PS:
            serve(spec, server, interrupted=config.interrupted, logger=logger)
            return replace(cluster, takes_part=False)
        self._task = WorkerTask(spec, server, config.interrupted, logger)
        return cluster

    def build(self, request: ProgramRequest) -> TensorFlowProgram:
        """Calls the user's functions in a new graph."""
        exports = request.mode == ModeKeys.EXPORT
        placement = Placement() if exports else self._placement
        if self._task is not None and request.mode == ModeKeys.TRAIN:
            self._program = build_cluster_program(
                request, placement, self._rules, self._profile, task=self._task
            )
            return self._program
        graph = build_graph(request, placement, self._rules)
        return TensorFlowProgram(request, graph, placement, None if exports else self._profile)

    def close(self) -> None:
        """Tells the cluster that this worker failed, or, as the chief, that all is over."""
        task, program, self._task = self._task, self._program, None
        if task is None:
            return
        if program is None or not program.left:
            announce(task.spec, task.server, failure_of(task.spec.index))
        elif task.spec.is_chief:
            announce(task.spec, task.server, OVER)

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

    def read_variables(self, prefix: str) -> dict[str, Any] | None:
        """Reads a checkpoint that TensorFlow or TF-slim wrote, for another engine."""
        files = CheckpointFiles.find(prefix)
        return None if files is None else {name: files.read(name) for name in files.shapes}

    def write_variables(self, prefix: str, values: Mapping[str, Any]) -> None:
        """Writes another engine's variables in TensorFlow's format."""
        write_checkpoint(prefix, values)
