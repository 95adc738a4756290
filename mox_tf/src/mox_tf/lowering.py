"""Neutral graphs as operations of TensorFlow's graph."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mox_core import nn
from mox_core.errors import SpecError
from mox_core.nn.graph import Graph
from mox_core.nn.initializers import Constant
from mox_core.nn.lowering import batch_norm_updates, lower
from mox_core.spec import Mode, ModeKeys
from mox_tf.devices import HERE
from mox_tf.nn_functions import TABLE, normalized
from mox_tf.tf1 import tf

__all__ = ["lower_graph", "spec_of"]

_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.\\/>-]")


def spec_of(tensor: Any) -> nn.InputSpec:
    """What a tensor looks like to a neutral function: a batch of any size."""
    shape = tensor.shape.as_list()
    return nn.InputSpec((None, *shape[1:]) if shape else (), tensor.dtype.name)


def lower_graph(
    graph: Graph,
    targets: Iterable[nn.Tensor],
    inputs: Mapping[nn.Tensor, Any],
    mode: Mode,
    *,
    moves_averages: bool,
) -> dict[nn.Tensor, Any]:
    """Computes targets in the default graph, with variables of `tf.get_variable`.

    Args:
        graph: what a neutral function has built.
        targets: what is wanted of it.
        inputs: its inputs -> native tensors.
        mode: EXPORT leaves the variables to what is restored.
        moves_averages: whether the batch normalizations add what moves their averages to
            UPDATE_OPS.

    Returns:
        Tensor of the graph -> tensor of TensorFlow's.

    Raises:
        SpecError: a variable has a name that TensorFlow does not take.
    """
    variables = {one: _variable(one, mode) for one in graph.variables.values()}
    given = {**inputs, **{one: tf.convert_to_tensor(v) for one, v in variables.items()}}
    norms = batch_norm_updates(graph) if moves_averages else []
    statistics: dict[nn.Tensor, tuple[Any, Any]] = {}

    def compute(tensor: nn.Tensor, operands: Sequence[Any]) -> Any:
        with tf.name_scope(_NOT_IN_NAMES.sub("_", tensor.name)):
            if tensor.op != "batch_norm":
                return TABLE[tensor.op](*operands, **tensor.attrs)
            y, *statistics[tensor] = normalized(*operands, **tensor.attrs)
            return y

    values = lower([*targets, *norms], given, compute)
    for norm in norms:
        for neutral, batch in zip(norm.inputs[3:], statistics[norm], strict=True):
            _move(variables[neutral], values[neutral], batch, norm.attrs["decay"])
    return values


def _variable(neutral: nn.Variable, mode: Mode) -> Any:
    if not _NAME.fullmatch(neutral.name):
        raise SpecError(
            f"variable {neutral.name!r} cannot be named so in TensorFlow.\n"
            "  Use letters, digits and _ . - in names of scopes and variables."
        )

    def initializer(shape: Sequence[int], dtype: Any) -> Any:
        if mode == ModeKeys.EXPORT:  # what comes from a checkpoint
            return tf.zeros(shape, dtype)
        if isinstance(neutral.initializer, Constant):
            return tf.constant(nn.initial_value(neutral), dtype)
        stored = tf.float32 if dtype == tf.bfloat16 else dtype

        def draw() -> Any:  # in another dtype than asked for below mox.var_scope
            return nn.initial_value(neutral).astype(stored.as_numpy_dtype)

        # In a cluster the variable is elsewhere, and this process alone knows the function.
        with tf.device(HERE.get()):
            # Drawn when it is asked for: in the graph the values would stay for ever.
            drawn = tf.numpy_function(draw, [], stored)
        drawn.set_shape(shape)
        return tf.cast(drawn, dtype)

    return tf.get_variable(
        neutral.name,
        neutral.shape,
        neutral.dtype,
        initializer=initializer,
        trainable=neutral.trainable,
    )


def _move(variable: Any, value: Any, batch: Any, decay: float) -> None:
    """Moves an average, before the update of a training step."""
    update = variable.assign_sub((value - batch) * (1.0 - decay), read_value=False)
    tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, update)
