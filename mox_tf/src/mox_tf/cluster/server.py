"""This process's TensorFlow server."""

from __future__ import annotations

import functools
from typing import Any

from mox_core.errors import EngineError
from mox_tf.cluster.hosts import is_reachable, leave_proxies_out
from mox_tf.cluster.spec import ClusterSpec
from mox_tf.failures import first_line
from mox_tf.tf1 import tf

__all__ = ["start_server"]


def start_server(spec: ClusterSpec, protocol: str, config: Any) -> Any:
    """Starts to listen at this process's address.

    Args:
        spec: the cluster.
        protocol: `"grpc"`, or another that this TensorFlow was built with.
        config: a `ConfigProto`.

    Raises:
        EngineError: the port is taken, or this process runs a server of a cluster already.
    """
    if _started.cache_info().currsize:
        raise EngineError(
            "a process of a cluster can train once.\n"
            "  Move the second mox.run in mode TRAIN into a script of its own."
        )
    return _started(spec, protocol, config.SerializeToString())


@functools.cache  # a server of TensorFlow lives as long as its process
def _started(spec: ClusterSpec, protocol: str, config: bytes) -> Any:
    port = spec.address.rpartition(":")[2]
    # TensorFlow would share the port with a process that listens already.
    if is_reachable(f"localhost:{port}"):
        raise EngineError(
            f"port {port} of {spec.job} {spec.index} ({spec.address}) is taken on this machine.\n"
            "  Does this process run already? Else choose another port."
        )
    leave_proxies_out([*spec.ps, *spec.workers])
    server_config = tf.ConfigProto.FromString(config)
    # They wait for each other in every step: those that spin take the CPU from those they wait for.
    server_config.experimental.disable_thread_spinning = True
    try:
        return tf.train.Server(
            tf.train.ClusterSpec(spec.tasks()),
            job_name=spec.job,
            task_index=spec.index,
            protocol=protocol,
            config=server_config,
        )
    except (tf.errors.OpError, ValueError) as error:
        raise EngineError(
            f"{spec.job} {spec.index} cannot listen at {spec.address}: {first_line(error)}"
        ) from error
