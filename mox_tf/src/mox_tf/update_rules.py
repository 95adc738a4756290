"""What shapes an update besides the optimizers: flags that hold for every model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mox_core.patterns import is_trainable
from mox_core.update_flags import Clip, read_clip, read_loss_scale
from mox_tf.tf1 import tf

__all__ = ["UPDATE_FLAGS", "UpdateRules", "update_rules"]

UPDATE_FLAGS = frozenset(
    {
        "gradient_clip",
        "gradient_clip_type",
        "loss_scale",
        "trainable_exclude_patterns",
        "trainable_include_patterns",
    }
)
"""The flags that `update_rules` reads."""


@dataclass(frozen=True)
class UpdateRules:
    """How gradients become updates.

    Args:
        loss_scale: factor of the losses while gradients are computed; None: found while training.
        clip: limit of the gradients of each loss, or None.
        trains: name -> whether the flags let a variable be trained.
    """

    loss_scale: float | None = 1.0
    clip: Clip | None = None
    trains: Callable[[str], bool] = lambda name: True

    def clipped(self, gradients: Sequence[Any]) -> list[Any]:
        """The gradients of one loss, dense or sparse or None, within the limit."""
        if self.clip is None:
            return list(gradients)
        if self.clip.kind == "value":
            return [_clipped_values(gradient, self.clip.limit) for gradient in gradients]
        clipped: list[Any] = tf.clip_by_global_norm(gradients, self.clip.limit)[0]
        return clipped


def _clipped_values(gradient: Any, limit: float) -> Any:
    if gradient is None:
        return None
    values = gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient
    with tf.colocate_with(values):  # it may be on another machine
        values = tf.clip_by_value(values, -limit, limit)
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return values


def update_rules(get_flag: Callable[[str], Any]) -> UpdateRules:
    """Reads the flags.

    Raises:
        FlagError: one does not fit; the message names it.
    """
    return UpdateRules(read_loss_scale(get_flag), read_clip(get_flag), is_trainable(get_flag))
