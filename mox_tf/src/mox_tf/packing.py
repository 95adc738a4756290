"""Small tensors that travel together.

Their bytes cost less than the number of operations and messages that move them.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from mox_tf.tf1 import tf

__all__ = ["group", "pack", "size_of", "unpack"]

_SMALL_BYTES = 64 * 2**10
_PACK_BYTES = 4 * 2**20


def size_of(shape: Any, dtype: Any) -> int | None:
    """Bytes of a tensor; None where its shape is not fully known."""
    if not shape.is_fully_defined():
        return None
    return int(shape.num_elements() * dtype.base_dtype.size)


def group(sizes: Sequence[int | None], keys: Sequence[Hashable]) -> list[list[int]]:
    """Positions of tensors that travel together: small ones of one key; each other by itself.

    Args:
        sizes: bytes; None: not known.
        keys: what tells tensors apart that cannot go together, such as dtype and device.
    """
    packs: list[list[int]] = []
    open_packs: dict[Hashable, tuple[list[int], int]] = {}
    for index, (size, key) in enumerate(zip(sizes, keys, strict=True)):
        if size is None or size > _SMALL_BYTES:
            packs.append([index])
            continue
        members, filled = open_packs.get(key, ([], _PACK_BYTES))
        if filled + size > _PACK_BYTES:
            members, filled = [], 0
            packs.append(members)
        members.append(index)
        open_packs[key] = members, filled + size
    return packs


def pack(tensors: Sequence[Any]) -> Any:
    """One flat tensor of all; a single one stays as it is."""
    if len(tensors) == 1:
        return tensors[0]
    return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)


def unpack(packed: Any, shapes: Sequence[Any]) -> list[Any]:
    """The opposite of `pack`."""
    if len(shapes) == 1:
        return [packed]
    parts = tf.split(packed, [shape.num_elements() for shape in shapes])
    return [tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True)]
