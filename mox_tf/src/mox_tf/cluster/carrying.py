"""How parameters and gradients travel between parameter servers and a worker.

What a step costs is mostly the number of its messages. Small tensors of one server and dtype share
one, in both directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mox_tf.cluster.spec import PS, ClusterSpec
from mox_tf.packing import group, pack, size_of, unpack
from mox_tf.tf1 import replace_input, tf

__all__ = ["carry_parameters", "send_gradients"]


def send_gradients(pairs: Sequence[tuple[Any, Any]], spec: ClusterSpec) -> list[Any]:
    """The gradients, where their variables are.

    None of them is sent before all are computed: an update then needs no further message to be
    sure that the step before it has read all variables.

    Args:
        pairs: gradients and variables.
        spec: the cluster.
    """
    here = f"{spec.device}/device:CPU:0"
    gradients = [gradient for gradient, _ in pairs]
    flat = [g.values if isinstance(g, tf.IndexedSlices) else g for g in gradients]
    sent: list[Any] = [None] * len(pairs)
    sizes = [
        None if isinstance(gradient, tf.IndexedSlices) else size_of(variable.shape, gradient.dtype)
        for gradient, variable in pairs
    ]
    keys = [(v.device, g.dtype.base_dtype) for g, v in pairs]
    for members in group(sizes, keys):
        first = members[0]
        with tf.control_dependencies(flat), tf.device(here):
            packed = tf.identity(pack([flat[index] for index in members]))
        with tf.device(pairs[first][1].device):
            packed = tf.identity(packed)
            if sizes[first] is None and isinstance(gradients[first], tf.IndexedSlices):
                slices = gradients[first]
                indices = tf.identity(slices.indices)
                sent[first] = tf.IndexedSlices(packed, indices, slices.dense_shape)
                continue
            shapes = [pairs[index][1].shape for index in members]
            for index, part in zip(members, unpack(packed, shapes), strict=True):
                sent[index] = part
    return sent


def carry_parameters(graph: Any, spec: ClusterSpec) -> None:
    """Lets operations of this worker take the values that they read from one tensor per server.

    Reads that wait for something else first stay as they are.

    Args:
        graph: with all its towers; the default graph.
        spec: the cluster.
    """
    variables = {variable.handle.op for variable in tf.global_variables()}
    reads: dict[Any, Any] = {}  # variable -> its value
    readers: dict[Any, list[tuple[Any, int]]] = {}  # -> operations here, and which of their inputs
    for op in graph.get_operations():
        if op.type != "ReadVariableOp" or op.control_inputs or op.inputs[0].op not in variables:
            continue
        variable, (value,) = op.inputs[0].op, op.outputs
        for reader in value.consumers():
            if tf.DeviceSpec.from_string(reader.device).job != PS:
                inputs = [index for index, tensor in enumerate(reader.inputs) if tensor is value]
                readers.setdefault(variable, []).extend((reader, index) for index in inputs)
                reads.setdefault(variable, value)
    values = list(reads.values())
    keys = [(variable.device, value.dtype) for variable, value in reads.items()]
    for members in group([size_of(value.shape, value.dtype) for value in values], keys):
        chosen = [values[index] for index in members]
        with tf.device(keys[members[0]][0]):
            packed = pack(chosen)
        with tf.device(f"{spec.device}/device:CPU:0"):
            parts = unpack(tf.identity(packed), [value.shape for value in chosen])
        for value, part in zip(chosen, parts, strict=True):
            for reader, index in readers[value.op.inputs[0].op]:
                replace_input(reader, index, part)
