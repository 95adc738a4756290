"""Metrics: scalars, means over the batch, without gradients."""

from __future__ import annotations

from typing import Any

from mox_core.nn import ops
from mox_core.nn.tensor import Tensor

__all__ = ["accuracy", "top_k_accuracy"]


def accuracy(logits: Any, labels: Any) -> Tensor:
    """The share of rows whose largest logit stands at the label.

    Args:
        logits: [batch, classes].
        labels: [batch], class numbers.
    """
    right = ops.equal(ops.argmax(logits), ops.cast(labels, "int64"))
    return ops.reduce_mean(ops.cast(right, "float32"))


def top_k_accuracy(logits: Any, labels: Any, k: int) -> Tensor:
    """The share of rows whose label is among the k largest logits.

    Args:
        logits: [batch, classes].
        labels: [batch], class numbers.
        k: how many.
    """
    return ops.reduce_mean(ops.cast(ops.in_top_k(logits, labels, k), "float32"))
