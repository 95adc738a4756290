"""Flags about gradients, as all engines read them that honour them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mox_core.errors import FlagError

__all__ = ["DYNAMIC", "Clip", "read_clip", "read_loss_scale"]

DYNAMIC = "dynamic"
_KINDS = ("norm", "value")


@dataclass(frozen=True)
class Clip:
    """How gradients are limited.

    Args:
        kind: `"norm"` (the L2 norm of all gradients of a loss together) or `"value"` (each number).
        limit: above 0.
    """

    kind: str
    limit: float


def read_clip(get_flag: Callable[[str], Any]) -> Clip | None:
    """What `--gradient_clip` and `--gradient_clip_type` say; None: nothing.

    Raises:
        FlagError: they do not go together.
    """
    kind, limit = get_flag("gradient_clip_type"), get_flag("gradient_clip")
    if not kind and limit is None:
        return None
    if kind not in _KINDS:
        raise FlagError(
            f"--gradient_clip_type is {kind!r}, with --gradient_clip {limit}.\n"
            "  Use norm (limits the L2 norm of all gradients of a loss together) or value (limits "
            "each number)."
        )
    if limit is None or not limit > 0:
        raise FlagError(
            f"--gradient_clip is {limit}; --gradient_clip_type {kind} needs a number above 0."
        )
    return Clip(kind, float(limit))


def read_loss_scale(get_flag: Callable[[str], Any]) -> float | None:
    """What `--loss_scale` says: a factor; None for one that is found while training.

    Raises:
        FlagError: it is no number above 0.
    """
    value = get_flag("loss_scale")
    if value == DYNAMIC:
        return None
    if isinstance(value, str) or not value > 0:
        raise FlagError(f"--loss_scale is {value!r}; give a number above 0, or {DYNAMIC}.")
    return float(value)
