"""How the gradients of a worker reach the variables, and what a step of it waits for."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from mox_tf.cluster.board import BoardOps
from mox_tf.cluster.carrying import send_gradients
from mox_tf.cluster.spec import ClusterSpec
from mox_tf.tf1 import tf

__all__ = ["AsyncExchange", "GradientExchange"]

_Pairs = list[tuple[Any, Any]]


class GradientExchange(Protocol):
    """Stands between the gradients of this process and the optimizers."""

    def update_scope(self) -> AbstractContextManager[Any]:
        """Where the optimizers' operations are placed: small constants must not travel."""

    def gradient_scope(self) -> AbstractContextManager[Any]:
        """Where what `share` returns is worked on."""

    def share(self, gradients: list[_Pairs], before: list[Any]) -> list[_Pairs]:
        """Takes the gradients of all losses; returns those that count for the update.

        Args:
            gradients: and their variables, for each loss.
            before: further operations of this worker's step.
        """

    def deliver(self, gradients: list[_Pairs]) -> list[_Pairs]:
        """Brings the gradients of all losses, clipped, to their variables."""

    def finish(self, update: Any) -> Any:
        """Makes what a step of this worker runs.

        Args:
            update: applies what `deliver` returned and counts the global step.
        """


class AsyncExchange:
    """Every worker applies its gradients when it has them.

    Args:
        spec: the cluster.
        board: counts the steps of this worker.
    """

    def __init__(self, spec: ClusterSpec, board: BoardOps) -> None:
        self._spec = spec
        self._board = board
        self._before: list[Any] = []

    def update_scope(self) -> AbstractContextManager[Any]:
        """The first parameter server."""
        scope: AbstractContextManager[Any] = tf.device(self._spec.ps_device(0))
        return scope

    def gradient_scope(self) -> AbstractContextManager[Any]:
        """This worker."""
        return nullcontext()

    def share(self, gradients: list[_Pairs], before: list[Any]) -> list[_Pairs]:
        """Returns them as they are."""
        self._before = before
        return gradients

    def deliver(self, gradients: list[_Pairs]) -> list[_Pairs]:
        """Sends them."""
        sent = iter(send_gradients([pair for pairs in gradients for pair in pairs], self._spec))
        return [[(next(sent), variable) for _, variable in pairs] for pairs in gradients]

    def finish(self, update: Any) -> Any:
        """Counts the step, too."""
        with self.update_scope(), tf.control_dependencies([update]):
            counted = self._board.count_step(self._spec.index)
        return tf.group(counted, *self._before)
