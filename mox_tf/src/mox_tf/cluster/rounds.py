"""Synchronous training, in the graph: rounds of one gradient from each worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np

from mox_tf.cluster.carrying import send_gradients
from mox_tf.cluster.spec import ClusterSpec
from mox_tf.tf1 import tf

__all__ = ["SyncExchange"]

_Pairs = list[tuple[Any, Any]]

JOIN, VOTE, LEAVE, AGAIN, WAKE = range(5)
"""Kinds of messages to the chief: [worker, stamp, kind]; of `WAKE`: [chief, kind of token, kind].

`AGAIN`: this worker has waited for long.
"""

GO, STOP, LOST, FAILED, UNFINISHED = range(5)
"""Kinds of tokens to a worker: [stamp, kind]; of `UNFINISHED`: [stamp, kind, *messages]."""


class SyncExchange:
    """All workers that have data give one gradient each; the mean of them is applied.

    Gradients are summed up where the variables are. A worker that gave its own votes, and waits
    for a token. The step of the chief waits for the votes: when they are those of all workers that
    take part, the same step applies the means and hands out tokens. When another message is among
    them, the step ends without that, and the chief's `Leader` ends the round by requests of its
    own. Every round has a stamp, which grows also from one chief to the next one: gradients and
    votes that come too late bear an old one and count for nothing.

    Args:
        spec: the cluster.

    Attributes:
        stamp: of the round in which this worker is. It is a variable of this worker alone on the
            first parameter server, so that votes and tokens need no messages but their own.
    """

    def __init__(self, spec: ClusterSpec) -> None:
        self._spec = spec
        self._workers = len(spec.workers)
        self._accumulators: list[Any] = []
        self._counts: list[Any] = []
        self._discards: list[Any] = []
        self._stamps: list[Any] = []
        with self._scope():
            self.stamp = tf.Variable(
                lambda: tf.zeros([], tf.int64),
                name=f"mox_stamp_{spec.index}",
                trainable=False,
                use_resource=True,
                collections=[tf.GraphKeys.LOCAL_VARIABLES],
            )
            self._stamp = self.stamp.read_value()
            # 1 for each worker that takes part; the chief's.
            self._members = tf.Variable(
                lambda: tf.zeros([self._workers], tf.int32),
                name="mox_members",
                trainable=False,
                use_resource=True,
                collections=[],
            )
            self.votes = _queue("mox_votes", 3)
            self.tokens = [_queue(f"mox_tokens_{i}", 2) for i in range(self._workers)]
            self._any_votes = self.votes.size()
            self._wanted = tf.placeholder(tf.int32, [], "mox_messages_wanted")
            self._received = self.votes.dequeue_many(self._wanted)
            self._messages = tf.placeholder(tf.int64, [None, 3], "mox_messages")
            self._said = self.votes.enqueue_many(self._messages)
            self.next_token = self._receive()

    # ---- In the graph --------------------------------------------------------------------------

    @contextmanager
    def update_scope(self) -> Iterator[None]:
        """The first parameter server, where nothing runs before a round is complete."""
        with self._scope(), tf.control_dependencies([self._complete]):
            yield

    def gradient_scope(self) -> AbstractContextManager[Any]:
        """The same: the means never leave the parameter servers."""
        return self.update_scope()

    def share(self, gradients: list[_Pairs], before: list[Any]) -> list[_Pairs]:
        """Pushes them and votes; returns the means over the workers, which only the chief takes."""
        flat = [pair for pairs in gradients for pair in pairs]
        pushes = []
        for gradient, (_, variable) in zip(send_gradients(flat, self._spec), flat, strict=True):
            name = f"mox_gradients_{len(self._accumulators)}_{variable.op.name}"
            options: dict[str, Any] = {"shape": variable.shape, "shared_name": name}
            dtype = gradient.dtype.base_dtype
            sums: Any
            with tf.device(variable.device):
                if isinstance(gradient, tf.IndexedSlices):
                    # Its mean would be, for each row, over those that have looked it up.
                    options["reduction_type"] = "SUM"
                    sums = tf.SparseConditionalAccumulator(dtype, **options)
                    pushes.append(sums.apply_indexed_slices_grad(gradient, self._stamp))
                else:
                    sums = tf.ConditionalAccumulator(dtype, **options)
                    pushes.append(sums.apply_grad(gradient, self._stamp))
            self._accumulators.append(sums)
        self._vote([*pushes, *(before if self._spec.is_chief else [])])
        means = iter(map(self._take, self._accumulators, flat))
        return [[next(means) for _ in pairs] for pairs in gradients]

    def deliver(self, gradients: list[_Pairs]) -> list[_Pairs]:
        """Returns them as they are: they have been taken where the variables are."""
        return gradients

    def finish(self, update: Any) -> Any:
        """Makes the step, which returns its token."""
        with self._scope():
            with tf.control_dependencies([update]):
                others = self._send(self._taking_part * self._all_but_me())
                sent = tf.group(others, self.stamp.assign(self._token[0]))
            # What the leader does by requests of its own.
            self._sent = self._send(self._taking_part)
            self._begun = tf.group(
                self._members.assign(self._taking_part), self.stamp.assign(self._token[0])
            )
            with tf.control_dependencies([sent, self._members.assign(self._taking_part)]):
                self._ended = self.votes.dequeue_many(self._wanted)
            if not self._spec.is_chief:
                with tf.control_dependencies([self._voted]):
                    return self._receive()
            with tf.control_dependencies([sent]):
                token = tf.identity(self._token)
            return tf.raw_ops.Merge(inputs=[self._unfinished, token]).output

    def _scope(self) -> AbstractContextManager[Any]:
        scope: AbstractContextManager[Any] = tf.device(self._spec.ps_device(0))
        return scope

    def _vote(self, before: list[Any]) -> None:
        """Votes, then waits for as many messages as workers take part, and looks at them."""
        with self._scope():
            vote = tf.constant([[self._spec.index, 0, VOTE]], tf.int64)
            with tf.control_dependencies(before):
                self._voted = self.votes.enqueue_many(vote + self._stamp * [[0, 1, 0]])
            with tf.control_dependencies([self._voted]):
                members = self._members.read_value()
            number = tf.reduce_sum(members)
            messages = self.votes.dequeue_many(number)
            workers, stamps, kinds = tf.unstack(messages, axis=1)
            votes = tf.logical_and(tf.equal(stamps, self._stamp), tf.equal(kinds, VOTE))
            voted = tf.math.unsorted_segment_sum(tf.cast(votes, tf.int32), workers, self._workers)
            complete = tf.reduce_all(tf.equal(voted, members))
            # Whatever depends on the number of gradients is not run unless the round is complete.
            # The leader feeds the number, the token and who takes part, and so runs the rest alone.
            self._gradients = tf.raw_ops.Switch(data=number, pred=complete).output_true
            self._complete = tf.identity(self._gradients)
            self._token = tf.stack([self._stamp + 1, tf.constant(GO, tf.int64)])
            self._taking_part = tf.identity(members)
            told = tf.concat([[self._stamp, UNFINISHED], tf.reshape(messages, [-1])], axis=0)
            self._unfinished = tf.raw_ops.Switch(data=told, pred=complete).output_false

    def _take(self, sums: Any, pair: tuple[Any, Any]) -> tuple[Any, Any]:
        variable = pair[1]
        with tf.device(variable.device):
            self._counts.append(sums.num_accumulated())
            self._discards.append(sums.take_grad(1))
            self._stamps.append(sums.set_global_step(self._token[0]))
            if isinstance(sums, tf.SparseConditionalAccumulator):
                rows = sums.take_indexed_slices_grad(self._gradients)
                values = rows.values / tf.cast(self._gradients, rows.dtype)
                return tf.IndexedSlices(values, rows.indices, rows.dense_shape), variable
            mean = sums.take_grad(self._gradients)
            mean.set_shape(variable.shape)
            return mean, variable

    def _all_but_me(self) -> Any:
        return np.array([index != self._spec.index for index in range(self._workers)], np.int32)

    def _receive(self) -> Any:
        token = self.tokens[self._spec.index].dequeue()
        with tf.control_dependencies([self.stamp.assign(token[0])]):
            return tf.identity(token)

    def _send(self, to: Any) -> Any:
        return tf.group(
            *(
                queue.enqueue_many([tf.tile(self._token[None], [to[index], 1])])
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

    def say(self, session: Any, kind: int, *, worker: int | None = None) -> None:
        """Sends a message about this worker, or about another one, to the chief."""
        about = self._spec.index if worker is None else worker
        session.run(self._said, {self._messages: [[about, 0, kind]]})

    def wake(self, session: Any, kind: int, *, everybody: bool = False) -> None:
        """Sends a token to this worker, or to all, that says something other than `GO`."""
        to = [int(everybody or index == self._spec.index) for index in range(self._workers)]
        if self._spec.is_chief:  # its step waits for messages, at most one from each worker
            to[self._spec.index] = 0
            message = [self._spec.index, kind, WAKE]
            session.run(self._said, {self._messages: [message] * self._workers})
        if any(to):
            self._send_tokens(session, 0, kind, to)

    # ---- What the chief does ---------------------------------------------------------------------

    def forget(self, session: Any) -> None:
        """Forgets the messages that an earlier chief left."""
        waiting = session.run(self._any_votes)
        if waiting:
            session.run(self._received, {self._wanted: waiting})

    def begin(self, session: Any, stamp: int, to: list[int]) -> None:
        """Lets workers go on with a new stamp."""
        # From now on nothing older counts; taking what has come moves an accumulator by one.
        session.run(self._stamps, {self._token: [stamp - 1, GO]})
        for index, count in enumerate(session.run(self._counts)):
            if count:
                session.run(self._discards[index])
        session.run(self._stamps, {self._token: [stamp, GO]})
        session.run(self._begun, {self._token: [stamp, GO], self._taking_part: to})
        self.send(session, stamp, [*(self._all_but_me() * to)])

    def send(self, session: Any, stamp: int, to: list[int]) -> None:
        """Sends tokens to the workers for which `to` holds 1."""
        self._send_tokens(session, stamp, GO, to)

    def gradients(self, session: Any) -> int:
        """How many gradients of each variable, at least, have come in this round."""
        return int(min(session.run(self._counts)))

    def receive(self, session: Any, number: int) -> Any:
        """Waits for so many messages."""
        return session.run(self._received, {self._wanted: number})

    def round_ender(self, session: Any) -> Callable[[int, int, int, list[int], int], Any]:
        """Makes the function that ends a round.

        Returns:
            A function of the number of gradients, the stamp and the kind of the tokens, who takes
            part in the next round, and the number of messages of that to wait for; it applies the
            mean of the gradients, sends the tokens and returns the messages.
        """
        inputs = [self._gradients, self._token, self._taking_part, self._wanted]
        run = session.make_callable(self._ended, feed_list=inputs)

        def end(gradients: int, stamp: int, kind: int, members: list[int], messages: int) -> Any:
            return run(
                np.int32(gradients),
                np.array([stamp, kind], np.int64),
                np.array(members, np.int32),
                np.int32(messages),
            )

        return end

    def _send_tokens(self, session: Any, stamp: int, kind: int, to: list[int]) -> None:
        session.run(self._sent, {self._token: [stamp, kind], self._taking_part: to})


def _queue(name: str, width: int) -> Any:
    return tf.FIFOQueue(-1, tf.int64, [width], shared_name=name, name=name)
