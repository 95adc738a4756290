"""Losses: scalars, means over the batch; they are also in `Collections.LOSSES`."""

from __future__ import annotations

from typing import Any

from mox_core.nn import ops
from mox_core.nn.graph import Collections, active_graph, get_collection
from mox_core.nn.tensor import Tensor

__all__ = [
    "absolute_difference",
    "get_regularization_loss",
    "get_total_loss",
    "mean_squared_error",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
    "sparse_softmax_cross_entropy",
]


def softmax_cross_entropy(
    logits: Any, labels: Any, *, weights: Any = 1.0, label_smoothing: float = 0.0
) -> Tensor:
    """Cross entropy between softmax(logits) and one-hot labels.

    Args:
        logits: [batch, classes].
        labels: [batch, classes], of the same dtype; gradients flow to them, too.
        weights: a number, or [batch].
        label_smoothing: share of the labels that is spread over all classes.
    """
    logits = ops.as_tensor(logits, "softmax_cross_entropy")
    labels = ops.as_tensor(labels, "softmax_cross_entropy")
    if label_smoothing:
        classes = logits.shape[-1] or 1
        labels = labels * (1.0 - label_smoothing) + label_smoothing / classes
    graph = active_graph("softmax_cross_entropy")
    return _mean(graph.add("softmax_cross_entropy", (logits, labels)), weights)


def sparse_softmax_cross_entropy(logits: Any, labels: Any, *, weights: Any = 1.0) -> Tensor:
    """Cross entropy between softmax(logits) and class numbers.

    Args:
        logits: [batch, classes].
        labels: [batch], whole numbers from 0 to classes - 1.
        weights: a number, or [batch].
    """
    op = "sparse_softmax_cross_entropy"
    inputs = (ops.as_tensor(logits, op), ops.as_tensor(labels, op))
    return _mean(active_graph(op).add(op, inputs), weights)


def sigmoid_cross_entropy(
    logits: Any, labels: Any, *, weights: Any = 1.0, label_smoothing: float = 0.0
) -> Tensor:
    """Cross entropy between sigmoid(logits) and labels from 0 to 1, element by element.

    Args:
        logits: any shape.
        labels: the same shape and dtype.
        weights: a number, or a tensor that broadcasts.
        label_smoothing: share of the labels that becomes 1/2.
    """
    op = "sigmoid_cross_entropy"
    logits, labels = ops.as_tensor(logits, op), ops.as_tensor(labels, op)
    if label_smoothing:
        labels = labels * (1.0 - label_smoothing) + label_smoothing / 2
    return _mean(active_graph(op).add(op, (logits, labels)), weights)


def mean_squared_error(predictions: Any, labels: Any, *, weights: Any = 1.0) -> Tensor:
    """The mean of the squared differences."""
    return _mean(ops.square(ops.subtract(predictions, labels)), weights)


def absolute_difference(predictions: Any, labels: Any, *, weights: Any = 1.0) -> Tensor:
    """The mean of the absolute differences."""
    return _mean(ops.abs(ops.subtract(predictions, labels)), weights)


def get_regularization_loss() -> Tensor:
    """The sum of all regularization losses of this model; 0 when there are none."""
    losses = get_collection(Collections.REGULARIZATION_LOSSES)
    return ops.add_n(losses) if losses else ops.as_tensor(0.0)


def get_total_loss() -> Tensor:
    """The sum of all losses of this model, those of its regularizers included."""
    losses = get_collection(Collections.LOSSES)
    return ops.add_n([*losses, *get_collection(Collections.REGULARIZATION_LOSSES)] or [0.0])


def _mean(values: Tensor, weights: Any) -> Tensor:
    """The mean of weighted losses over the elements whose weight is not 0."""
    if isinstance(weights, (int, float)):
        loss = ops.reduce_mean(values)
        loss = loss if weights == 1 else loss * weights
    else:
        factors = ops.as_tensor(weights, "losses", dtype=values.dtype) + values * 0.0
        counted = ops.reduce_sum(ops.cast(ops.not_equal(factors, 0.0), values.dtype))
        loss = ops.reduce_sum(values * factors) / ops.maximum(counted, 1.0)
    active_graph("losses").collect(Collections.LOSSES, loss)
    return loss
