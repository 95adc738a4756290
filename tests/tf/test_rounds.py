"""Rounds of synchronous training: a parameter server and two workers, in this process."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("tensorflow")
import tensorflow.compat.v1 as tf

from mox_tf.cluster.leader import Leader
from mox_tf.cluster.placement import cluster_scope
from mox_tf.cluster.rounds import AGAIN, GO, JOIN, LEAVE, STOP, UNFINISHED, SyncExchange
from mox_tf.cluster.spec import ClusterSpec


@pytest.fixture(scope="module")
def cluster():
    """The addresses of running servers, by job."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    hosts = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    tasks = {"ps": hosts[:1], "worker": hosts[1:]}
    servers = [
        tf.train.Server(tasks, job_name=job, task_index=index)
        for job, index in (("ps", 0), ("worker", 0), ("worker", 1))
    ]
    return tasks, [server.target for server in servers[1:]]


class Worker:
    """A worker that trains a vector, and one row of a table, by gradient descent from 0."""

    def __init__(self, cluster, index, pool):
        tasks, targets = cluster
        spec = ClusterSpec(tuple(tasks["ps"]), tuple(tasks["worker"]), "worker", index, True)
        graph, self.pool = tf.Graph(), pool
        with graph.as_default(), cluster_scope(spec):
            self.weights = tf.get_variable("weights", [2], initializer=tf.zeros_initializer())
            self.exchange = SyncExchange(spec)
            self.table = tf.get_variable("table", [2, 2], initializer=tf.zeros_initializer())
            self._gradient = tf.placeholder(tf.float32, [2])
            row = tf.IndexedSlices(self._gradient[None], tf.constant([index]), tf.constant([2, 2]))
            pairs = [(self._gradient, self.weights), (row, self.table)]
            [shared] = self.exchange.share([pairs], [])
            with self.exchange.update_scope():
                update = tf.train.GradientDescentOptimizer(1.0).apply_gradients(shared)
            self._step = self.exchange.finish(update)
            begin = [tf.global_variables_initializer() if index == 0 else tf.no_op()]
            begin += [tf.local_variables_initializer()]
        config = tf.ConfigProto(device_filters=["/job:ps", spec.device])
        self.session = tf.Session(targets[index], graph=graph, config=config)
        self.session.run(begin)

    def step(self, gradient):
        """Begins a step; returns the future of its token."""
        values = {self._gradient: [gradient, -gradient]}
        return self.pool.submit(lambda: self.session.run(self._step, values).tolist())

    def token(self):
        return self.session.run(self.exchange.next_token).tolist()

    def say(self, kind):
        self.exchange.say(self.session, kind)


@pytest.fixture
def workers(cluster):
    """The chief's leader, the stamp of the first round, and both workers, which have begun."""
    with ThreadPoolExecutor(4) as pool:
        chief, other = (Worker(cluster, index, pool) for index in (0, 1))
        chief.exchange.forget(chief.session)
        leader = Leader(chief.exchange, chief.session)
        stamp = leader.begin([0, 1])
        while other.token() != [stamp, GO]:
            pass  # left over from the test before
        yield leader, stamp, chief, other


def weights(worker):
    return worker.session.run(worker.weights).tolist()


def test_the_step_of_the_chief_ends_a_round(workers):
    _, stamp, chief, other = workers
    for number in (1, 2):
        theirs = other.step(3.0)
        assert chief.step(1.0).result(60) == [stamp + number, GO]
        assert theirs.result(60) == [stamp + number, GO]
        assert weights(chief) == [-2.0 * number, 2.0 * number]


def test_a_row_that_one_worker_looked_up_gets_its_share_of_the_mean(workers):
    _, _, chief, other = workers
    theirs = other.step(3.0)
    chief.step(1.0).result(60)
    theirs.result(60)
    # As the gradient of one process with both batches would be.
    assert chief.session.run(chief.table).tolist() == [[-0.5, 0.5], [-1.5, 1.5]]


def test_one_that_leaves_is_not_waited_for(workers):
    leader, stamp, chief, other = workers
    other.say(LEAVE)
    at, kind, *messages = chief.step(1.0).result(60)
    assert (at, kind) == (stamp, UNFINISHED)
    assert weights(chief) == [0, 0], "nothing is applied before all is known"
    assert leader.end_round(at, messages) == (stamp + 1, GO)
    assert weights(chief) == [-1, 1]
    # From then on the chief is alone, and its step ends the rounds.
    assert chief.step(2.0).result(60) == [stamp + 2, GO]
    assert weights(chief) == [-3, 3]


def test_one_that_comes_back_takes_part_again(workers):
    leader, stamp, chief, other = workers
    other.say(JOIN)  # it had been killed, and with it the token that it got
    at, kind, *messages = chief.step(1.0).result(60)
    assert kind == UNFINISHED
    ended = chief.pool.submit(leader.end_round, at, messages)
    assert other.token() == [stamp, GO]
    theirs = other.step(3.0)
    assert ended.result(60) == (stamp + 1, GO)
    assert theirs.result(60) == [stamp + 1, GO]
    assert weights(chief) == [-2, 2]


def test_one_that_asks_again_gets_its_token_again(workers):
    leader, stamp, chief, other = workers
    other.say(AGAIN)
    at, _, *messages = chief.step(1.0).result(60)
    theirs = other.step(3.0)
    assert leader.end_round(at, messages) == (stamp + 1, GO)
    # The one of this round was meant for the case that it had not got it; a worker skips it.
    assert theirs.result(60) == [stamp, GO]
    assert other.token() == [stamp + 1, GO]
    assert weights(chief) == [-2, 2]


def test_a_round_whose_votes_are_lost_ends_all_the_same(workers):
    leader, stamp, chief, other = workers
    theirs = other.step(3.0)
    assert len(chief.exchange.receive(chief.session, 1)) == 1  # by the step of a chief that died
    other.say(AGAIN)
    at, _, *messages = chief.step(1.0).result(60)
    assert leader.end_round(at, messages) == (stamp + 1, GO)
    assert theirs.result(60) == [stamp + 1, GO]
    assert weights(chief) == [-2, 2]


def test_gradients_of_an_earlier_chief_count_for_nothing(workers):
    _, stamp, chief, other = workers
    late = other.step(100.0)
    again = Leader(chief.exchange, chief.session)
    # Its vote is a message from a worker: taking it waits until it is there.
    assert len(chief.exchange.receive(chief.session, 1)) == 1
    chief.exchange.forget(chief.session)
    begun = again.begin([0, 1])
    assert begun > stamp
    assert late.result(60) == [begun, GO]
    theirs = other.step(3.0)
    assert chief.step(1.0).result(60) == [begun + 1, GO]
    assert theirs.result(60) == [begun + 1, GO]
    assert weights(chief) == [-2, 2]


def test_the_chief_can_be_woken(workers):
    leader, _, chief, _ = workers
    step = chief.step(1.0)
    chief.exchange.wake(chief.session, STOP)
    at, kind, *messages = step.result(60)
    assert kind == UNFINISHED
    assert leader.end_round(at, messages) == (0, STOP)
    assert weights(chief) == [0, 0]


def test_rounds_go_on_when_the_chief_has_left(workers):
    leader, stamp, chief, other = workers
    theirs = other.step(3.0)
    leader.take_over(stamp)
    for number in (1, 2, 3):
        assert theirs.result(60) == [stamp + number, GO]
        np.testing.assert_allclose(weights(chief), [-3.0 * number, 3.0 * number])
        if number < 3:
            theirs = other.step(3.0)
    other.say(LEAVE)
    leader._thread.join(60)
    assert not leader._thread.is_alive() and leader.error is None
