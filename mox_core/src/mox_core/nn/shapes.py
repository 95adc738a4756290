"""Arithmetic on shapes, and the error for those that do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mox_core.nn.tensor import Shape

__all__ = ["Misfit", "Pads", "broadcast", "full_size", "pair", "reshaped", "window"]

Pads = tuple[tuple[int, int], tuple[int, int]]
"""((top, bottom), (left, right))"""


class Misfit(Exception):
    """Something does not fit an operation; `Graph.add` makes a SpecError of it, with the scope.

    Args:
        expected: what would fit.
        got: what came.
        advice: what to do, a sentence.
    """

    def __init__(self, expected: str, got: object, advice: str = "") -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.advice = advice


def pair(value: Any, what: str) -> tuple[int, int]:
    """Returns (height, width) of a number or a pair."""
    both = tuple(value) if isinstance(value, (list, tuple)) else (value, value)
    if len(both) != 2 or not all(type(one) is int and one > 0 for one in both):
        raise Misfit(f"{what} to be a positive whole number or a pair of them", repr(value))
    return both


def window(
    size: tuple[int, int],
    kernel: tuple[int, int],
    *,
    strides: tuple[int, int],
    dilations: tuple[int, int],
    padding: Any,
) -> tuple[tuple[int, int], str, Pads]:
    """Places a sliding window over an image.

    Args:
        size: (height, width) of the image.
        kernel: of the window.
        strides: how far it moves.
        dilations: distance of its elements.
        padding: `"SAME"` (an output for every stride, the odd pixel of padding at the bottom and
            right, as TensorFlow does), `"VALID"`, or ((top, bottom), (left, right)).

    Returns:
        (height, width) of the output; SAME, VALID or EXPLICIT; the padding in pixels.
    """
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    if padding == "SAME":
        pads = tuple(_same(s, r, step) for s, r, step in zip(size, reach, strides, strict=True))
        kind = "SAME"
    elif padding == "VALID":
        pads, kind = ((0, 0), (0, 0)), "VALID"
    else:
        pads, kind = _explicit(padding), "EXPLICIT"
    out = tuple(
        (s + before + after - r) // step + 1
        for s, r, step, (before, after) in zip(size, reach, strides, pads, strict=True)
    )
    if min(out) < 1:
        raise Misfit(
            f"an image of at least {reach[0]} x {reach[1]} pixels for this window",
            f"{size[0]} x {size[1]}",
            "Use a larger image or padding='SAME'.",
        )
    return (out[0], out[1]), kind, (pads[0], pads[1])


def _same(size: int, reach: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2


def _explicit(padding: Any) -> tuple[tuple[int, int], ...]:
    try:
        pads = tuple((int(before), int(after)) for before, after in padding)
    except (TypeError, ValueError):
        pads = ()
    if len(pads) != 2 or min(min(both) for both in pads) < 0:
        raise Misfit("padding 'SAME', 'VALID' or ((top, bottom), (left, right))", repr(padding))
    return pads


def broadcast(*shapes: Shape) -> Shape:
    """The shape of an element-wise operation: sizes of 1 stretch, as in NumPy."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    result: list[int | None] = []
    for sizes in zip(*padded, strict=True):
        wider = {size for size in sizes if size != 1}
        known = {size for size in wider if size is not None}
        if len(known) > 1:
            raise Misfit(
                "shapes that are equal, or 1 where they differ", " and ".join(map(str, shapes))
            )
        result.append(known.pop() if known else (None if wider else 1))
    if None in result[1:]:
        raise Misfit("batches in the first dimension only", " and ".join(map(str, shapes)))
    return tuple(result)


def reshaped(shape: Shape, wanted: Sequence[Any]) -> Shape:
    """Works out the -1 (or None) of a reshape.

    Returns:
        The new shape; its first size is None when the batch is and goes on to be the first.
    """
    sizes = [-1 if size is None else size for size in wanted]
    if not all(type(size) is int and (size > 0 or size == -1) for size in sizes):
        raise Misfit("a shape of positive whole numbers and at most one -1", tuple(wanted))
    if sizes.count(-1) > 1:
        raise Misfit("a shape with at most one -1", tuple(wanted))
    known = full_size(size for size in sizes if size != -1)
    unknown = sizes.index(-1) if -1 in sizes else None
    if None not in shape:
        total = full_size(shape)
        if unknown is None and total != known or unknown is not None and total % known:
            raise Misfit(f"a shape with {total} elements like {shape}", tuple(wanted))
        if unknown is not None:
            sizes[unknown] = total // known
        return tuple(sizes)
    per_row = full_size(shape[1:])
    if unknown == 0 and known == per_row:
        return (None, *sizes[1:])
    if unknown == 0 and (per_row % known == 0 or known % per_row == 0):
        return (None, *sizes[1:])
    raise Misfit(
        f"a shape that begins with -1 for the batch and fits {per_row} elements per row",
        tuple(wanted),
    )


def full_size(sizes: Any) -> int:
    """The product of sizes that are all known."""
    product = 1
    for size in sizes:
        assert size is not None
        product *= size
    return product
