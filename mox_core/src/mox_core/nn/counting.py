"""Counts what a graph consists of: parameters and multiply-adds, per layer."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from mox_core.nn.tensor import Tensor, Variable

__all__ = ["LayerCount", "count_layers", "multiply_adds"]

_LAYERS = ("conv2d", "depthwise_conv2d", "dense", "max_pool", "avg_pool", "lrn", "batch_norm")


@dataclass(frozen=True)
class LayerCount:
    """One line of a network's table.

    Args:
        name: the scope.
        op: the operation.
        shape: of its output.
        parameters: trainable values of its variables.
        multiply_adds: per sample.
    """

    name: str
    op: str
    shape: tuple[int | None, ...]
    parameters: int
    multiply_adds: int


def multiply_adds(tensor: Tensor) -> int:
    """Multiplications with additions that an operation takes per sample, 0 for cheap ones."""
    if tensor.op in ("conv2d", "depthwise_conv2d", "dense", "matmul"):
        weights = tensor.inputs[1]
        assert weights is not None
        per_output = weights.shape[:2] if tensor.op == "depthwise_conv2d" else weights.shape[:-1]
        return _size(tensor.shape[1:]) * _size(per_output)
    return 0


def count_layers(tensors: Iterable[Tensor]) -> list[LayerCount]:
    """The layers of a graph, in order, each with its own variables."""
    counted: set[Tensor] = set()
    rows = []
    for tensor in tensors:
        if tensor.op not in _LAYERS:
            continue
        own = [one for one in tensor.inputs if isinstance(one, Variable) and one not in counted]
        counted.update(own)
        rows.append(
            LayerCount(
                name=tensor.name.rpartition("/")[0] or tensor.name,
                op=tensor.op,
                shape=tensor.shape,
                parameters=sum(_size(one.shape) for one in own if one.trainable),
                multiply_adds=multiply_adds(tensor),
            )
        )
    return rows


def _size(sizes: Iterable[int | None]) -> int:
    return math.prod(size or 1 for size in sizes)
