"""Builds a worker's program."""

from __future__ import annotations

from mox_core.engine import ProgramRequest
from mox_core.errors import EngineError
from mox_tf.cluster.board import BoardOps
from mox_tf.cluster.carrying import carry_parameters
from mox_tf.cluster.exchange import AsyncExchange, GradientExchange
from mox_tf.cluster.placement import cluster_scope
from mox_tf.cluster.program import ClusterProgram, WorkerTask
from mox_tf.cluster.rounds import SyncExchange
from mox_tf.cluster.spec import ClusterSpec
from mox_tf.devices import Placement
from mox_tf.graph import build_graph
from mox_tf.update_rules import UpdateRules

__all__ = ["build_cluster_program", "check_cluster"]


def check_cluster(spec: ClusterSpec, placement: Placement, rules: UpdateRules) -> None:
    """Refuses what does not go together with parameter servers.

    Raises:
        EngineError: a flag asks for it.
    """
    if placement.variable_update == "replicated":
        raise EngineError(
            "--variable_update replicated is for one process; with --ps_hosts use "
            "distributed_replicated or parameter_server."
        )
    if spec.sync and rules.loss_scale is None:
        raise EngineError(
            "--loss_scale dynamic does not go together with --sync_replicas.\n"
            "  Give a number, such as --loss_scale 1024."
        )


def build_cluster_program(
    request: ProgramRequest,
    placement: Placement,
    rules: UpdateRules,
    profile: tuple[int, int] | None,
    *,
    task: WorkerTask,
) -> ClusterProgram:
    """Calls the user's functions in a new graph whose variables are on the parameter servers.

    Args:
        request: what to build.
        placement: the devices of this worker's towers.
        rules: what shapes an update besides the optimizers.
        profile: the first and the last step that the chief traces, or None.
        task: the cluster.
    """
    made: list[tuple[BoardOps, GradientExchange]] = []

    def make_exchange() -> GradientExchange:
        board = BoardOps(task.spec)
        sync = task.spec.sync
        exchange: GradientExchange
        exchange = SyncExchange(task.spec) if sync else AsyncExchange(task.spec, board)
        made.append((board, exchange))
        return exchange

    graph = build_graph(
        request,
        placement,
        rules,
        scope=lambda: cluster_scope(task.spec),
        make_exchange=make_exchange,
    )
    ((board, exchange),) = made
    with graph.graph.as_default():
        carry_parameters(graph.graph, task.spec)
    return ClusterProgram(
        request,
        graph,
        placement,
        profile if task.spec.is_chief else None,
        task=task,
        board=board,
        exchange=exchange if isinstance(exchange, SyncExchange) else None,
    )
