"""What Python hands out as a `tf.data.Dataset`: above all samples, in the order that was decided.

Python hands out samples many at a time, because every crossing from Python into TensorFlow costs as
much as reading a small image. Files on this machine are opened by TensorFlow itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count, islice
from typing import Any

import numpy as np

from mox_core.data import Order, SampleError, tickets
from mox_core.errors import DataError
from mox_tf.tf1 import as_it_is, tf

__all__ = [
    "CHANCE",
    "POSITION",
    "TOGETHER",
    "Position",
    "Stream",
    "fed",
    "local_stream",
    "reader_stream",
]

TOGETHER = 16
"""Samples that are handed over at a time."""

_PATHS_TOGETHER = 256

_UNDERWAY = 1024
"""More samples than are ever on their way through a pipeline, besides those in batches."""

_NEVER = 2**62

POSITION = "position"
"""Column: how many samples come before this one."""

CHANCE = "chance"
"""Column: int32 [2], the seed of what is random in this sample."""


class Position:
    """What Python knows of the samples that it handed out.

    Args:
        order: of the samples.
        total: samples of the source.

    Attributes:
        patient: whether to go on until a whole epoch was in vain.
        in_batches: how many samples wait in batches, at most.
        errors: position -> why the sample there could not be read.
        failure: what ended the reading altogether.
        handed_out: how many samples were.
        arrived: whether any sample came through the pipeline.
    """

    def __init__(self, order: Order, total: int) -> None:
        self._order = order
        self._total = total
        self.patient = False
        self.in_batches = 0
        self.errors: dict[int, SampleError] = {}
        self.failure: Exception | None = None
        self.handed_out = 0
        self.arrived = False

    @property
    def is_empty(self) -> bool:
        """Whether there are no samples at all, in however many epochs."""
        return not len(self._order)

    @property
    def count(self) -> int | None:
        """Samples of all epochs; None: there is no end."""
        epochs = self._order.num_epochs
        return None if epochs is None else epochs * len(self._order)

    @property
    def end(self) -> int:
        """A place after the last one, that leaves a gap so that it is noticed."""
        return _NEVER if self.count is None else self.count + 1

    def index(self, position: int) -> int:
        """The number of the sample in the source."""
        epoch, place = divmod(position, len(self._order))
        return int(self._order.epoch(self._order.first_epoch + epoch)[place])

    def note(self, some: int) -> None:
        """Counts samples that are handed out.

        Raises:
            DataError: very many were, and none came through.
        """
        self.handed_out += some
        enough = _UNDERWAY + self.in_batches + (len(self._order) if self.patient else 0)
        if not self.arrived and self.handed_out > enough:
            raise DataError("no sample can be read")

    def ended_by(self, error: Exception) -> None:
        """Notes what ended the reading; to raise it would only lose it like a sample."""
        self.failure = error


class Stream:
    """A data set of dicts, and where its samples are found again.

    Args:
        dataset: of dicts of tensors; they have `position` and `chance`.
        position: of samples that get lost on their way.
    """

    def __init__(self, dataset: Any, position: Position) -> None:
        self.dataset = dataset
        self.position = position


def local_stream(
    order: Order,
    total: int,
    columns: Mapping[str, Any],
    values: Mapping[str, Callable[[Any], Any]],
    seed: int,
) -> Stream:
    """Samples on this machine, of which Python says no more than where they are.

    Args:
        order: of the samples.
        total: samples of the source.
        columns: name -> tensor spec of what a sample has, such as `path`.
        values: name -> function of the numbers of samples, int64, to an array of their values.
        seed: of what is random.
    """
    position = Position(order, total)

    def chunks() -> Iterator[dict[str, Any]]:
        done = 0
        for epoch, indices in enumerate(order.epochs(), order.first_epoch):
            for begin in range(0, len(indices), _PATHS_TOGETHER):
                some = indices[begin : begin + _PATHS_TOGETHER]
                chunk = {name: values[name](some) for name in columns}
                position.note(len(some))
                places = np.arange(done, done + len(some))
                done += len(some)
                yield _numbered(chunk, places, epoch, some, seed)

    return Stream(_elements(chunks, columns, position), position)


def reader_stream(
    read: Callable[[], Iterable[Any]],
    order: Order,
    total: int,
    columns: Mapping[str, Any],
    seed: int,
) -> Stream:
    """Samples that Python reads.

    Args:
        read: begins to read, from the first sample: dicts, or errors.
        order: of the samples.
        total: samples of the source.
        columns: name -> tensor spec of what a sample has.
        seed: of what is random.
    """
    position = Position(order, total)

    def chunks() -> Iterator[dict[str, Any]]:
        samples = read()
        numbered = enumerate(zip(tickets(order, total), samples, strict=False))
        try:
            while some := list(islice(numbered, TOGETHER)):
                good = []
                for place, (ticket, sample) in some:
                    if isinstance(sample, SampleError):
                        position.errors[place] = sample
                    else:
                        good.append((place, ticket, sample))
                position.note(len(some))
                if good:
                    yield chunk_of(good)
        finally:
            close = getattr(samples, "close", None)
            if close is not None:
                close()

    def chunk_of(good: list[tuple[int, int, Any]]) -> dict[str, Any]:
        epochs, indices = np.divmod(np.array([ticket for _, ticket, _ in good]), max(total, 1))
        chunk = {
            name: _column([sample[name] for _, _, sample in good], spec)
            for name, spec in columns.items()
        }
        places = np.array([place for place, _, _ in good])
        return _numbered(chunk, places, epochs, indices, seed)

    return Stream(_elements(chunks, columns, position), position)


def _numbered(
    chunk: dict[str, Any], places: Any, epochs: Any, indices: Any, seed: int
) -> dict[str, Any]:
    """Adds what tells samples apart."""
    chance = np.empty([len(indices), 2], np.int32)
    chance[:, 0] = (seed * 1_000_003 + epochs) & 0x7FFFFFFF
    chance[:, 1] = indices & 0x7FFFFFFF
    return {POSITION: places, CHANCE: chance, **chunk}


def _column(values: list[Any], spec: Any) -> Any:
    if spec.dtype == tf.string:
        column = np.empty(len(values), object)
        column[:] = values
        return column
    return np.stack([np.asarray(value, spec.dtype.as_numpy_dtype) for value in values])


def _elements(
    chunks: Callable[[], Iterator[Any]], columns: Mapping[str, Any], position: Position
) -> Any:
    specs = {
        POSITION: tf.TensorSpec([], tf.int64),
        CHANCE: tf.TensorSpec([2], tf.int32),
        **columns,
    }
    many = {
        name: tf.TensorSpec([None, *spec.shape.as_list()], spec.dtype)
        for name, spec in specs.items()
    }

    def until_it_fails() -> Iterator[Any]:
        try:
            yield from chunks()
        except Exception as error:
            position.ended_by(error)

    return fed(until_it_fails, many).unbatch()


def fed(start: Callable[[], Iterable[Any]], specs: Mapping[str, Any]) -> Any:
    """A data set of what Python iterates over.

    `from_generator` does the same, but slows down all of a pipeline: reading files behind it takes
    half as much CPU time again.

    Args:
        start: begins to iterate, over dicts of arrays; once per iterator of TensorFlow's. What it
            returned is closed at its end, or when the graph is collected.
        specs: name -> tensor spec; none is a scalar.
    """
    numbers = count()
    begun: dict[int, Iterator[Any]] = {}
    nothing = [
        np.zeros([0, *(size or 0 for size in spec.shape.as_list()[1:])], spec.dtype.as_numpy_dtype)
        for spec in specs.values()
    ]

    def begin() -> Any:
        number = next(numbers)
        begun[number] = iter(start())
        return np.int64(number)

    def take(number: Any) -> list[Any]:
        for element in begun.get(int(number), ()):
            return [True, *(element[name] for name in specs)]
        begun.pop(int(number), None)
        return [False, *nothing]

    def taken(number: Any) -> Any:
        types = [tf.bool, *(spec.dtype for spec in specs.values())]
        more, *values = tf.py_func(take, [number], types)
        more.set_shape([])
        return more, *values

    @as_it_is
    def element(_: Any, *values: Any) -> dict[str, Any]:
        for value, spec in zip(values, specs.values(), strict=True):
            value.set_shape(spec.shape)
        return dict(zip(specs, values, strict=True))

    @as_it_is
    def elements(_: Any) -> Any:
        number = tf.py_func(begin, [], tf.int64)
        number.set_shape([])
        many = tf.data.Dataset.range(_NEVER).map(as_it_is(lambda _: taken(number)))
        return many.take_while(as_it_is(lambda more, *_: more)).map(element)

    return tf.data.Dataset.range(1).flat_map(elements)
