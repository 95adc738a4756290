"""Which part of a data set this process reads."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from inspect import isfunction
from types import GeneratorType
from typing import Any

from mox_core.errors import DataError

__all__ = ["Shard", "all_reading_as", "current_shard", "reading_as", "scope"]


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


_scope: ContextVar[Shard | None] = ContextVar("mox shard", default=None)


def current_shard() -> Shard:
    """The part that a data set made now reads, unless it is told another.

    Inside an input_fn of `mox.run` in mode TRAIN it is that of this process among those that train
    together; else it is everything.
    """
    return _scope.get() or Shard()


def scope() -> Shard | None:
    """The part that `reading_as` has set; None outside of it."""
    return _scope.get()


@contextmanager
def reading_as(shard: Shard) -> Iterator[None]:
    """Lets data sets that are made inside the with block read this part."""
    token = _scope.set(shard)
    try:
        yield
    finally:
        _scope.reset(token)


def all_reading_as(shard: Shard, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function inside which, and inside of what it returns, data sets read this part.

    What it returns may run later: a generator, or another function.
    """

    @functools.wraps(function)
    def scoped(*args: Any, **kwargs: Any) -> Any:
        with reading_as(shard):
            result = function(*args, **kwargs)
        if isinstance(result, GeneratorType):
            return _each_as(shard, result)
        return all_reading_as(shard, result) if isfunction(result) else result

    return scoped


def _each_as(shard: Shard, items: Generator[Any, None, None]) -> Iterator[Any]:
    with closing(items):
        while True:
            with reading_as(shard):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item
