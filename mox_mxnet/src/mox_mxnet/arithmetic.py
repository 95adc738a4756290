"""Arithmetic in place on many arrays at once, with few calls of MXNet's operations.

MXNet's `sgd_update` computes `w -= rate * (g + decay * w)` for a float32 array; with other numbers
it computes what is needed here, in one pass. `multi_sgd_update` does it for many arrays, as slowly
as if all had the size of the largest: good for small ones. The numbers of both are float32, so
arrays of other dtypes are computed with plain operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mox_mxnet.importing import load

__all__ = ["add_scaled", "move_towards"]

nd = load().nd

Arrays = Sequence[Any]

_AT_ONCE = 45  # MXNet's limit is 60
_SMALL = 2048


def add_scaled(targets: Arrays, values: Arrays, factor: float) -> None:
    """`target += factor * value`, for each of them."""
    left = _together(targets, values, [-factor] * len(targets), [0.0] * len(targets))
    for place in left:
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
    left = _together(targets, values, rates, decays)
    for place in left:
        share, factor = shares[place]
        targets[place][:] = (1 - share) * targets[place] + (share * factor) * values[place]


def _together(
    targets: Arrays, values: Arrays, rates: Sequence[float], decays: Sequence[float]
) -> list[int]:
    """`target -= rate * (value + decay * target)` of the float32 ones; returns which are left."""
    small: list[int] = []
    others: list[int] = []
    for place, (target, value) in enumerate(zip(targets, values, strict=True)):
        if target.dtype != np.float32:
            others.append(place)
        elif target.size <= _SMALL:
            small.append(place)
        else:
            nd.sgd_update(target, value, lr=rates[place], wd=decays[place], out=target)
    for start in range(0, len(small), _AT_ONCE):
        places = small[start : start + _AT_ONCE]
        nd.multi_sgd_update(
            *(one for place in places for one in (targets[place], values[place])),
            lrs=tuple(rates[place] for place in places),
            wds=tuple(decays[place] for place in places),
            num_weights=len(places),
            out=[targets[place] for place in places],
        )
    return others
