"""Means of the towers' gradients.

Small tensors travel together (see `mox_tf.packing`). Packs follow the order in which the backward
pass finishes the gradients, so that the first are on their way while it goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mox_tf.devices import Placement
from mox_tf.packing import group, pack, size_of, unpack
from mox_tf.tf1 import nccl_all_sum, tf

__all__ = ["all_reduce_mean", "mean"]


def mean(gradients: Sequence[Any], divisor: Any) -> Any:
    """The sum over `divisor`, sparse where all gradients are.

    Args:
        gradients: of one variable, by towers; None where a tower's loss does not depend on it.
        divisor: the number of towers, those whose gradient is None included, times the loss
            scale; a float or a float32 scalar tensor.

    Returns:
        None when all are None.
    """
    given = [gradient for gradient in gradients if gradient is not None]
    if not given:
        return None
    if len(given) == 1:
        total = given[0]
    elif all(isinstance(gradient, tf.IndexedSlices) for gradient in given):
        total = tf.IndexedSlices(
            tf.concat([gradient.values for gradient in given], axis=0),
            tf.concat([gradient.indices for gradient in given], axis=0),
            given[0].dense_shape,
        )
    else:
        total = tf.add_n([tf.convert_to_tensor(gradient) for gradient in given])
    return _divided(total, divisor)


def all_reduce_mean(
    per_tower: Sequence[Sequence[Any]], divisor: Any, placement: Placement
) -> list[list[Any]]:
    """The mean of the gradients of each variable, for every tower.

    Args:
        per_tower: for each tower its gradients, in the order of the variables; None for none.
        divisor: of the sums.
        placement: devices of the towers.

    Returns:
        One list for each tower; or a single one for all, where they share their memory.
    """
    towers = range(len(per_tower))
    count = len(per_tower[0])
    own_memory = placement.distinct_gpus
    reduced: list[list[Any]] = [[None] * count for _ in (towers if own_memory else (0,))]
    packs, alone = _packs(per_tower)
    before: list[Any] = []
    for position, members in enumerate(packs):
        flat = []
        for tower in towers:
            with tf.device(placement.towers[tower]), tf.control_dependencies(before):
                tensor = pack([per_tower[tower][index] for index in members])
                flat.append(tf.identity(tensor) if own_memory else tensor)
        if own_memory:
            sums = nccl_all_sum(flat)
            # NCCL hangs when devices begin their reductions in different orders.
            before = [tensor.op for tensor in sums]
        else:
            with tf.device(placement.towers[position % len(towers)]):
                sums = [tf.add_n(flat)]
        for tower, total in enumerate(sums):
            with tf.device(total.device):
                shapes = [per_tower[0][index].shape for index in members]
                for index, part in zip(
                    members, unpack(_divided(total, divisor), shapes), strict=True
                ):
                    reduced[tower][index] = part
    for index in alone:
        with tf.device(placement.towers[index % len(towers)]):
            one = mean([gradients[index] for gradients in per_tower], divisor)
        for gradients in reduced:
            gradients[index] = one
    return reduced


def _packs(per_tower: Sequence[Sequence[Any]]) -> tuple[list[list[int]], list[int]]:
    """Positions of gradients that travel together, and of those that are not summed as packs."""
    alone: list[int] = []
    order: list[int] = []
    for index in reversed(range(len(per_tower[0]))):
        tensors = [gradients[index] for gradients in per_tower]
        known = all(isinstance(one, tf.Tensor) and one.shape.is_fully_defined() for one in tensors)
        (order if known else alone).append(index)
    first = [per_tower[0][index] for index in order]
    groups = group([size_of(one.shape, one.dtype) for one in first], [one.dtype for one in first])
    return [[order[position] for position in one] for one in groups], alone


def _divided(total: Any, divisor: Any) -> Any:
    if isinstance(divisor, float) and divisor == 1.0:
        return total
    if isinstance(total, tf.IndexedSlices):
        return tf.IndexedSlices(_divided(total.values, divisor), total.indices, total.dense_shape)
    if total.dtype.size < 4:
        # A loss scale can be beyond what half precision holds.
        return tf.cast(tf.cast(total, tf.float32) / divisor, total.dtype)
    return total / tf.cast(divisor, total.dtype)
