"""How the gradients of a worker reach the variables, and what a step of it waits for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from mox_tf.cluster.board import BoardOps
from mox_tf.cluster.carrying import send_gradients
from mox_tf.cluster.spec import ClusterSpec
from mox_tf.tf1 import tf

__all__ = ["AsyncExchange", "GradientExchange", "SyncExchange"]

_Pairs = list[tuple[Any, Any]]

JOIN, VOTE, LEAVE = 0, 1, 2
"""Kinds of messages to the chief: [worker, stamp, kind]."""

GO, STOP, LOST, FAILED = 0, 1, 2, 3
"""Kinds of tokens to a worker: [stamp, kind]."""


class GradientExchange(Protocol):
    """Stands between the gradients of this process and the optimizers."""

    def update_scope(self) -> AbstractContextManager[Any]:
        """Where the optimizers' operations are placed: small constants must not travel."""

    def share(self, gradients: _Pairs) -> _Pairs:
        """Takes the gradients of one loss; returns those that count for the update."""

    def deliver(self, gradients: list[_Pairs]) -> list[_Pairs]:
        """Brings the gradients of all losses, clipped, to their variables."""

    def finish(self, update: Any, before: list[Any]) -> Any:
        """Makes what a step of this worker runs.

        Args:
            update: applies what `deliver` returned and counts the global step.
            before: further operations of this worker's step.
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

    def update_scope(self) -> AbstractContextManager[Any]:
        """The first parameter server."""
        scope: AbstractContextManager[Any] = tf.device(self._spec.ps_device(0))
        return scope

    def share(self, gradients: _Pairs) -> _Pairs:
        """Returns them as they are."""
        return gradients

    def deliver(self, gradients: list[_Pairs]) -> list[_Pairs]:
        """Sends them."""
        sent = iter(send_gradients([pair for pairs in gradients for pair in pairs], self._spec))
        return [[(next(sent), variable) for _, variable in pairs] for pairs in gradients]

    def finish(self, update: Any, before: list[Any]) -> Any:
        """Counts the step, too."""
        with self.update_scope(), tf.control_dependencies([update]):
            counted = self._board.count_step(self._spec.index)
        return tf.group(counted, *before)


class SyncExchange:
    """All workers that have data give one gradient each; the mean of them is applied.

    Gradients are summed up where the variables are. A worker that gave its own votes, and waits
    for a token. A thread of the chief (see `Leader`) counts votes, applies the means and hands
    out tokens. Every round has a stamp, which grows also from one chief to the next one:
    gradients and votes that come too late bear an old one and count for nothing.

    Args:
        spec: the cluster.

    Attributes:
        stamp: of the round in which this worker is. It is a variable of this worker alone on the
            first parameter server, so that votes and tokens need no messages but their own.
    """

    def __init__(self, spec: ClusterSpec) -> None:
        self._spec = spec
        self._pushes: list[Any] = []
        self._accumulators: list[Any] = []
        with tf.device(spec.ps_device(0)):
            self.stamp = tf.Variable(
                tf.zeros([], tf.int64),
                name=f"mox_stamp_{spec.index}",
                trainable=False,
                use_resource=True,
                collections=[tf.GraphKeys.LOCAL_VARIABLES],
            )
        with tf.device(spec.ps_device(0)):
            self.votes = _queue("mox_votes", 3)
            self.tokens = [_queue(f"mox_tokens_{i}", 2) for i in range(len(spec.workers))]
            self._gradients = tf.placeholder(tf.int32, [], "mox_gradients_wanted")
            self._messages = tf.placeholder(tf.int32, [], "mox_messages_wanted")
            self._token = tf.placeholder(tf.int64, [2], "mox_token")
            self._to = tf.placeholder(tf.int32, [len(spec.workers)], "mox_token_to")
            self._sent = self._send()
            self._any_votes = self.votes.size()
            self._received = self.votes.dequeue_many(self._messages)
            self._kind = tf.placeholder(tf.int64, [], "mox_message_kind")
            self._said = self.votes.enqueue([self._message(self.stamp.read_value(), self._kind)])
            self._stamp = self.stamp.read_value()
            self.next_token = self._receive()
        self._round: Any = None

    # ---- In the graph --------------------------------------------------------------------------

    def update_scope(self) -> AbstractContextManager[Any]:
        """The first parameter server."""
        scope: AbstractContextManager[Any] = tf.device(self._spec.ps_device(0))
        return scope

    def share(self, gradients: _Pairs) -> _Pairs:
        """Pushes them; returns the means over the workers, which only the chief takes."""
        shared = []
        sent = send_gradients(gradients, self._spec)
        for gradient, (_, variable) in zip(sent, gradients, strict=True):
            name = f"mox_gradients_{len(self._accumulators)}_{variable.op.name}"
            options = {"shape": variable.shape, "shared_name": name}
            dtype = gradient.dtype.base_dtype
            with tf.device(variable.device):
                mean: Any
                if isinstance(gradient, tf.IndexedSlices):
                    sums = tf.SparseConditionalAccumulator(dtype, **options)
                    push = sums.apply_indexed_slices_grad(gradient, self._stamp)
                    mean = sums.take_indexed_slices_grad(self._gradients)
                else:
                    sums = tf.ConditionalAccumulator(dtype, **options)
                    push = sums.apply_grad(gradient, self._stamp)
                    mean = sums.take_grad(self._gradients)
                    mean.set_shape(variable.shape)
            self._accumulators.append(sums)
            self._pushes.append(push)
            shared.append((mean, variable))
        return shared

    def deliver(self, gradients: list[_Pairs]) -> list[_Pairs]:
        """Returns them as they are: they have been taken where the variables are."""
        return gradients

    def finish(self, update: Any, before: list[Any]) -> Any:
        """Makes the step: push, vote, wait for the token, which it returns."""
        with self.update_scope():
            with tf.control_dependencies([update]):
                sent = self._send()
            with tf.control_dependencies([sent]):
                self._round = self.votes.dequeue_many(self._messages)
        self._counts = [sums.num_accumulated() for sums in self._accumulators]
        self._stamps = [sums.set_global_step(self._token[0]) for sums in self._accumulators]
        self._discards = [sums.take_grad(1) for sums in self._accumulators]
        mine = before if self._spec.is_chief else []
        with self.update_scope():
            with tf.control_dependencies([*self._pushes, *mine]):
                vote = self._message(self._stamp, tf.constant(VOTE, tf.int64))
                voted = self.votes.enqueue([vote])
            with tf.control_dependencies([voted]):
                return self._receive()

    def _message(self, stamp: Any, kind: Any) -> Any:
        return tf.stack([tf.constant(self._spec.index, tf.int64), stamp, kind])

    def _receive(self) -> Any:
        token = self.tokens[self._spec.index].dequeue()
        with tf.control_dependencies([self.stamp.assign(token[0])]):
            return tf.identity(token)

    def _send(self) -> Any:
        return tf.group(
            *(
                queue.enqueue_many([tf.tile(self._token[None], [self._to[index], 1])])
                for index, queue in enumerate(self.tokens)
            )
        )

    # ---- What a worker does besides its steps ----------------------------------------------------

    def join(self, session: Any) -> Any:
        """Asks to take part; returns the token that lets it."""
        self.say(session, JOIN)
        token = session.run(self.next_token)
        while token[1] == LOST:  # what was lost has been found: it is about an earlier session
            token = session.run(self.next_token)
        return token

    def say(self, session: Any, kind: int) -> None:
        """Sends a message to the chief."""
        session.run(self._said, {self._kind: kind})

    def wake(self, session: Any, kind: int, *, everybody: bool = False) -> None:
        """Sends a token to this worker, or to all, that says something other than `GO`."""
        workers = len(self.tokens)
        to = [int(everybody or index == self._spec.index) for index in range(workers)]
        session.run(self._sent, {self._token: [0, kind], self._to: to})

    # ---- What the chief does ---------------------------------------------------------------------

    def begin(self, session: Any, stamp: int, to: list[int]) -> None:
        """Forgets what an earlier chief left, and lets workers go on with a new stamp."""
        waiting = session.run(self._any_votes)
        if waiting:
            session.run(self._received, {self._messages: waiting})
        # From now on nothing older counts; taking what has come moves an accumulator by one.
        session.run(self._stamps, {self._token: [stamp - 1, GO]})
        for index, count in enumerate(session.run(self._counts)):
            if count:
                session.run(self._discards[index])
        session.run(self._stamps, {self._token: [stamp, GO]})
        self.send(session, stamp, to)

    def send(self, session: Any, stamp: int, to: list[int]) -> None:
        """Sends tokens to the workers for which `to` holds 1."""
        session.run(self._sent, {self._token: [stamp, GO], self._to: to})

    def receive(self, session: Any, number: int) -> Any:
        """Waits for so many messages."""
        return session.run(self._received, {self._messages: number})

    def round_ender(self, session: Any) -> Callable[[int, int, int, list[int], int], Any]:
        """Makes the function that ends rounds; one call of it is the leader's whole work.

        Returns:
            A function of the number of gradients, the stamp and the kind of the tokens, whom they
            go to, and the number of messages of the next round to wait for; it applies the mean
            of the gradients, sends the tokens and returns the messages.
        """
        inputs = [self._gradients, self._token, self._to, self._messages]
        run = session.make_callable(self._round, feed_list=inputs)

        def end(gradients: int, stamp: int, kind: int, to: list[int], messages: int) -> Any:
            return run(
                np.int32(gradients),
                np.array([stamp, kind], np.int64),
                np.array(to, np.int32),
                np.int32(messages),
            )

        return end


def _queue(name: str, width: int) -> Any:
    return tf.FIFOQueue(-1, tf.int64, [width], shared_name=name, name=name)
