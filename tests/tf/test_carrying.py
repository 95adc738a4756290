"""How many messages a step of a worker takes, counted in its graph."""

from __future__ import annotations

import logging

import pytest

pytest.importorskip("tensorflow")
import tensorflow.compat.v1 as tf

import mox_tf as mox
from mox_core.engine import ProgramRequest
from mox_core.update_flags import Clip
from mox_tf.cluster.building import build_cluster_program
from mox_tf.cluster.program import WorkerTask
from mox_tf.cluster.spec import ClusterSpec
from mox_tf.devices import Placement
from mox_tf.update_rules import UpdateRules

SMALL = [(20, 8), (8,), (8, 8), (8,), (8, 3), (3,)]


def input_fn(mode):
    return [tf.ones([4, 20])]


def model_fn(inputs, mode):
    value = inputs[0]
    for index in range(0, len(SMALL), 2):
        weights = tf.get_variable(f"w{index}", SMALL[index])
        value = tf.matmul(value, weights) + tf.get_variable(f"b{index}", SMALL[index + 1])
    large = tf.get_variable("large", [400, 400])  # travels by itself
    rows = tf.get_variable("rows", [1000, 3])
    embedded = tf.nn.embedding_lookup(rows, tf.constant([1, 2]))
    return mox.ModelSpec(
        loss=tf.reduce_mean(value) + tf.reduce_mean(tf.square(large)) + tf.reduce_sum(embedded)
    )


def messages(spec, rules=None):
    """The tensors that a step sends from one process to another: (from job, to job) -> names."""
    program = build_cluster_program(
        ProgramRequest(
            mode=mox.ModeKeys.TRAIN,
            input_fn=input_fn,
            model_fn=model_fn,
            optimizer_fns=(mox.get_optimizer_fn("momentum", learning_rate=0.1, momentum=0.9),),
        ),
        Placement(),
        rules or UpdateRules(),
        None,
        task=WorkerTask(spec, None, lambda: False, logging.getLogger("test")),
    )
    update = program._graph.update
    ahead, seen, sent = [getattr(update, "op", update)], set(), {}

    def task(op):
        # Reads have no device of their own: they are where their variable is.
        placed = op if op.device else op.inputs[0].op
        device = tf.DeviceSpec.from_string(placed.device)
        return device.job, device.task

    def send(producer, consumer, name):
        if task(producer) != task(consumer) and producer.type != "VarHandleOp":
            key = f"{task(producer)[0]} to {task(consumer)[0]}"
            sent.setdefault(key, set()).add((name, task(consumer)))

    while ahead:
        op = ahead.pop()
        if op in seen:
            continue
        seen.add(op)
        for tensor in op.inputs:
            send(tensor.op, op, tensor.name)
            ahead.append(tensor.op)
        for before in op.control_inputs:
            send(before, op, before.name)
            ahead.append(before)
    return {key: len(tensors) for key, tensors in sent.items()}


@pytest.mark.parametrize(
    ("worker", "sync", "clip"),
    [(0, False, None), (0, True, None), (1, True, None), (0, True, "norm"), (0, True, "value")],
)
def test_small_tensors_share_a_message(worker, sync, clip):
    spec = ClusterSpec(("a:1",), ("b:1", "c:1"), "worker", worker, sync)
    # To the worker: all that is small; the large variable. Back: their gradients; of the rows that
    # were looked up the values and the numbers, and what accumulators want besides: the shape.
    # In step the means are clipped where they are, and the chief's own step applies them.
    rules = UpdateRules(clip=Clip(clip, 1.0) if clip else None)
    assert messages(spec, rules) == {"ps to worker": 2, "worker to ps": 5 if sync else 4}


def test_servers_hardly_wait_for_each_other():
    spec = ClusterSpec(("a:1", "a:2"), ("b:1", "c:1"), "worker", 0)
    counted = messages(spec)
    # The last update of the one and the count of the step on the other.
    assert counted["ps to ps"] <= 3
