"""What shapes an update besides the optimizers: flags that hold for every model."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mox_core.errors import EngineError
from mox_core.patterns import read_patterns
from mox_tf.tf1 import tf

__all__ = ["DYNAMIC", "UPDATE_FLAGS", "UpdateRules", "update_rules"]

DYNAMIC = "dynamic"

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
        loss_scale: factor of the losses while gradients are computed, or `DYNAMIC`.
        clip_type: `"norm"`: the gradients of a loss together have at most the L2 norm `clip`;
            `"value"`: each number is at most `clip` away from 0; None: they stay as they are.
        clip: see `clip_type`.
        include: patterns; only variables whose names match one are trained. Empty: all.
        exclude: patterns; variables whose names match one are not trained.
    """

    loss_scale: float | str = 1.0
    clip_type: str | None = None
    clip: float = 0.0
    include: tuple[re.Pattern[str], ...] = ()
    exclude: tuple[re.Pattern[str], ...] = ()

    def trains(self, name: str) -> bool:
        """True when the patterns let a variable be trained."""
        if any(pattern.search(name) for pattern in self.exclude):
            return False
        return not self.include or any(pattern.search(name) for pattern in self.include)

    def clipped(self, gradients: Sequence[Any]) -> list[Any]:
        """The gradients of one loss, dense or sparse or None, within the limit."""
        if self.clip_type == "norm":
            clipped: list[Any] = tf.clip_by_global_norm(gradients, self.clip)[0]
            return clipped
        if self.clip_type == "value":
            return [self._clipped_values(gradient) for gradient in gradients]
        return list(gradients)

    def _clipped_values(self, gradient: Any) -> Any:
        if gradient is None:
            return None
        if isinstance(gradient, tf.IndexedSlices):
            return tf.IndexedSlices(
                tf.clip_by_value(gradient.values, -self.clip, self.clip),
                gradient.indices,
                gradient.dense_shape,
            )
        return tf.clip_by_value(gradient, -self.clip, self.clip)


def update_rules(get_flag: Callable[[str], Any]) -> UpdateRules:
    """Reads the flags.

    Raises:
        EngineError: one does not fit; the message names it.
    """
    clip_type, clip = _clipping(get_flag("gradient_clip_type"), get_flag("gradient_clip"))
    return UpdateRules(
        _loss_scale(get_flag("loss_scale")),
        clip_type,
        clip,
        read_patterns(get_flag, "trainable_include_patterns"),
        read_patterns(get_flag, "trainable_exclude_patterns"),
    )


def _loss_scale(value: float | str) -> float | str:
    if value != DYNAMIC and (isinstance(value, str) or not value > 0):
        raise EngineError(
            f"--loss_scale is {value!r}; engine 'tf' takes a number above 0, or {DYNAMIC}."
        )
    return value


def _clipping(kind: str | None, limit: float | None) -> tuple[str | None, float]:
    if not kind and limit is None:
        return None, 0.0
    if kind not in ("norm", "value"):
        raise EngineError(
            f"--gradient_clip_type is {kind!r}, with --gradient_clip {limit}.\n"
            "  Use norm (limits the L2 norm of all gradients of a loss together) or value (limits "
            "each number)."
        )
    if limit is None or not limit > 0:
        raise EngineError(
            f"--gradient_clip is {limit!r}; --gradient_clip_type {kind} needs a number above 0."
        )
    return kind, limit
