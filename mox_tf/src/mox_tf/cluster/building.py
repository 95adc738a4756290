"""Builds a worker's program."""

from __future__ import annotations

from typing import Any

from mox_core.engine import ProgramRequest
from mox_tf.cluster.board import BoardOps
from mox_tf.cluster.exchange import AsyncExchange, GradientExchange, SyncExchange
from mox_tf.cluster.placement import cluster_scope
from mox_tf.cluster.program import ClusterProgram, WorkerTask
from mox_tf.devices import Placement
from mox_tf.graph import build_graph

__all__ = ["build_cluster_program"]


def build_cluster_program(
    request: ProgramRequest, placement: Placement, loss_scale: float, task: WorkerTask
) -> ClusterProgram:
    """Calls the user's functions in a new graph whose variables are on the parameter servers.

    Args:
        request: what to build.
        placement: the devices of this worker's towers.
        loss_scale: see `build_update`.
        task: the cluster.
    """
    made: list[tuple[BoardOps, GradientExchange]] = []

    def make_exchange() -> GradientExchange:
        board = BoardOps(task.spec)
        sync = task.spec.sync
        exchange: Any = SyncExchange(task.spec) if sync else AsyncExchange(task.spec, board)
        made.append((board, exchange))
        return exchange

    graph = build_graph(
        request,
        placement,
        loss_scale,
        scope=lambda: cluster_scope(task.spec),
        make_exchange=make_exchange,
    )
    ((board, exchange),) = made
    return ClusterProgram(
        request,
        graph,
        placement,
        task=task,
        board=board,
        exchange=exchange if isinstance(exchange, SyncExchange) else None,
    )
