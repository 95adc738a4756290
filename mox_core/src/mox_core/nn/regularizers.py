"""Regularizers: functions from a variable to a scalar loss."""

from __future__ import annotations

from collections.abc import Callable

from mox_core.errors import SpecError
from mox_core.nn import ops
from mox_core.nn.tensor import Tensor

__all__ = ["Regularizer", "l1_regularizer", "l2_regularizer"]

Regularizer = Callable[[Tensor], Tensor]


def l2_regularizer(scale: float) -> Regularizer | None:
    """Returns x -> scale * sum(x ** 2) / 2; None for a scale of 0."""
    return _scaled(ops.l2_loss, scale)


def l1_regularizer(scale: float) -> Regularizer | None:
    """Returns x -> scale * sum(|x|); None for a scale of 0."""
    return _scaled(ops.l1_loss, scale)


def _scaled(loss: Callable[[Tensor], Tensor], scale: float) -> Regularizer | None:
    if scale < 0:
        raise SpecError(f"a regularizer's scale has to be 0 or more, not {scale!r}.")
    return (lambda x: scale * loss(x)) if scale else None
