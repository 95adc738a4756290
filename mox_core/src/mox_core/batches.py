"""How engines read what input_fn returns: batches of whatever kind of array they compute with."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from mox_core.errors import SpecError

__all__ = ["BatchReader"]

B = TypeVar("B")


class BatchReader(abc.ABC, Generic[B]):
    """The batches of one input_fn.

    input_fn returns an iterable (a data loader, a data set, a list, a generator) or a function
    that returns one. An item is a tuple, a list or a dict of arrays, or one array: a batch, or a
    sample to be batched. `B` is the engine's kind of batch: a list of arrays, or a mapping whose
    values they are.

    Args:
        input_fn: the user's function.
        mode: what it is called with.
        batch_size: makes batches of single samples; None when items are batches.
        keep_rest: whether fewer samples than batch_size at the end make a batch.

    Attributes:
        first: the first batch, which `take` gives, too.

    Raises:
        SpecError: input_fn returned nothing to read from, or no batch.
    """

    def __init__(
        self,
        input_fn: Callable[..., Any],
        mode: str,
        *,
        batch_size: int | None,
        keep_rest: bool,
    ) -> None:
        self._mode = mode
        self._batch_size = batch_size
        self._keep_rest = keep_rest
        self._source = input_fn(mode)
        if not any(hasattr(self._source, name) for name in ("__iter__", "__getitem__", "__call__")):
            raise self._no_source_error()
        self._batches: Iterator[B] = iter(())
        self._begin()
        first = next(self._batches, None)
        if first is None:
            enough = f", and that there are enough for {batch_size=}" if batch_size else ""
            raise SpecError(
                f"input_fn gives no batch in mode {mode!s}.\n"
                f"  Check where its data come from{enough}."
            )
        self.first: B = first
        self._ahead: list[B] = [first]

    # ---- What an engine adds -----------------------------------------------------------------

    @abc.abstractmethod
    def _converted(self, item: Any, number: int) -> B:
        """Makes a batch, or a single sample, of what input_fn gave.

        Raises:
            SpecError: it holds something that is no array.
        """

    @abc.abstractmethod
    def _stacked(self, samples: list[B]) -> B:
        """Makes a batch of samples that have equal shapes."""

    def _placed(self, batch: B) -> B:
        """Brings a batch to where it is computed with."""
        return batch

    # ---- For programs ------------------------------------------------------------------------

    def take(self, count: int) -> list[B]:
        """Returns the next `count` batches, fewer at the end of the data."""
        taken: list[B] = []
        if self._ahead:
            taken, self._ahead = self._ahead[:count], self._ahead[count:]
        while len(taken) < count:
            batch = next(self._batches, None)
            if batch is None:
                break
            taken.append(batch)
        return taken

    def take_again(self) -> list[B]:
        """Returns one batch, beginning again at the end of data that can be read again."""
        taken = self.take(1)
        if not taken:
            self.begin_again()
            taken = self.take(1)
        return taken

    def begin_again(self) -> None:
        """Goes back to the beginning of data that can be read again; others stay where they are."""
        if not isinstance(self._source, Iterator):
            self._ahead = []
            self._begin()

    def close(self) -> None:
        """Lets go of the data, so that a loader ends its workers."""
        self._batches = iter(())
        self._source, self._ahead = (), []

    def _begin(self) -> None:
        items = iter(self._source() if callable(self._source) else self._source)
        self._batches = self._read(items) if self._batch_size is None else self._batched(items)

    def _read(self, items: Iterable[Any]) -> Iterator[B]:
        for number, item in enumerate(items):
            yield self._placed(self._converted(item, number))

    def _batched(self, items: Iterable[Any]) -> Iterator[B]:
        samples: list[B] = []
        for number, item in enumerate(items):
            samples.append(self._converted(item, number))
            if len(samples) == self._batch_size:
                yield self._placed(self._checked_and_stacked(samples))
                samples = []
        if samples and self._keep_rest:
            yield self._placed(self._checked_and_stacked(samples))

    def _checked_and_stacked(self, samples: list[B]) -> B:
        shapes = [_shapes(sample) for sample in samples]
        different = next((shape for shape in shapes if shape != shapes[0]), None)
        if different is not None:
            raise SpecError(
                f"samples of input_fn({self._mode!s}) differ: {shapes[0]} and {different}.\n"
                "  Give all samples the same shapes, or batch them in input_fn."
            )
        return self._stacked(samples)

    def _no_source_error(self) -> SpecError:
        got = "None (is a return missing?)" if self._source is None else repr(self._source)
        return SpecError(
            f"input_fn returned {got} in mode {self._mode!s}.\n"
            "  Return an iterable of batches, such as a data loader, a list or a generator."
        )


def _shapes(batch: Any) -> dict[Any, tuple[int, ...]]:
    items = batch.items() if isinstance(batch, Mapping) else enumerate(batch)
    return {key: tuple(array.shape) for key, array in items}
