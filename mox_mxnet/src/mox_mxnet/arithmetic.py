"""Arithmetic in place on many arrays at once, with few calls of MXNet's operations.

MXNet's `multi_sgd_update` computes `w -= rate * (rescale * g + decay * w)` for lists of float32
arrays; with other numbers it computes what is needed here. Its numbers are float32, so arrays of
other dtypes are computed one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mox_mxnet.importing import load

__all__ = ["add_scaled", "all_finite", "move_towards"]

nd = load().nd

Arrays = Sequence[Any]

_AT_ONCE = 45  # MXNet's limit is 60


def add_scaled(targets: Arrays, values: Arrays, factor: float) -> None:
    """`target += factor * value`, for each of them."""
    singles = _together(targets, values, [-factor] * len(targets), [0.0] * len(targets))
    for place in singles:
        targets[place][:] += factor * values[place]


def move_towards(targets: Arrays, values: Arrays, shares: Sequence[tuple[float, float]]) -> None:
    """`target = (1 - share) * target + share * factor * value`, for each of them.

    Args:
        targets: arrays that are changed.
        values: arrays of the same shapes.
        shares: (share, factor) of each.
    """
    rates = [-share * factor for share, factor in shares]
    decays = [-1.0 / factor for _, factor in shares]
    singles = _together(targets, values, rates, decays)
    for place in singles:
        share, factor = shares[place]
        targets[place][:] = (1 - share) * targets[place] + (share * factor) * values[place]


def _together(
    targets: Arrays, values: Arrays, rates: Sequence[float], decays: Sequence[float]
) -> list[int]:
    """`target -= rate * (value + decay * target)` of the float32 ones; returns which are left."""
    fast = [place for place, one in enumerate(targets) if one.dtype == np.float32]
    for start in range(0, len(fast), _AT_ONCE):
        places = fast[start : start + _AT_ONCE]
        chosen = [targets[place] for place in places]
        pairs = [one for place in places for one in (targets[place], values[place])]
        nd.multi_sgd_update(
            *pairs,
            lrs=tuple(rates[place] for place in places),
            wds=tuple(decays[place] for place in places),
            num_weights=len(places),
            out=chosen,
        )
    return [] if len(fast) == len(targets) else [p for p in range(len(targets)) if p not in fast]


def all_finite(array: Any) -> bool:
    """Whether an array holds neither NaN nor infinity."""
    return bool(np.isfinite(array.asnumpy()).all())
