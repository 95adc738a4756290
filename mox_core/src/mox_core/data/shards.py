"""Which part of a data set this process reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mox_core.errors import DataError

__all__ = ["Shard", "current_shard", "reading_as"]


@dataclass(frozen=True)
class Shard:
    """One of `count` equal parts of every epoch.

    Args:
        index: which one, from 0.
        count: how many there are.

    Raises:
        DataError: there is no such part.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise DataError(
                f"there is no shard {self.index} of {self.count}: count from 0 to {self.count - 1}."
            )

    def bounds(self, total: int) -> tuple[int, int]:
        """First and last + 1 of the positions of `total` that are in this part.

        The parts cover all positions, and differ by one at most.
        """
        return total * self.index // self.count, total * (self.index + 1) // self.count


_current = Shard()


def current_shard() -> Shard:
    """The part that a data set made now reads, unless it is told another.

    Inside an input_fn of `mox.run` in mode TRAIN it is that of this process among those that train
    together; else it is everything.
    """
    return _current


@contextmanager
def reading_as(shard: Shard) -> Iterator[None]:
    """Lets data sets that are made inside the with block read this part."""
    global _current
    before, _current = _current, shard
    try:
        yield
    finally:
        _current = before
