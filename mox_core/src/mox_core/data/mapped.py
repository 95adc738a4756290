"""A data set in the three pieces that an engine's own loader takes: samples, batches, collation.

PyTorch's DataLoader and gluon's ask a data set for samples by number, a batch sampler for which
numbers come next, and a function to make a batch of samples. These pieces can be pickled.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any

from mox_core.data.loading import BadSamples, SampleLoader, stack, tickets
from mox_core.data.source import Sample, SampleError
from mox_core.errors import DataError

if TYPE_CHECKING:
    from mox_core.data.dataset import ImageDataset

__all__ = ["SINGLE_TOGETHER", "Mapped"]

SINGLE_TOGETHER = 16
"""Single samples that a process sends at a time."""

Batch = tuple[list[Any], int, list[SampleError]]
"""The columns of a batch (or single samples), the number of samples, those that are bad."""


class Mapped:
    """The pieces of one view of a data set.

    Args:
        dataset: what is read.
        keys: the features.
        convert: makes the engine's own arrays of NumPy's; called where batches are made.
        threads: that read the samples of one batch; 0: one after the other.

    Attributes:
        samples: `samples[ticket]` is a sample, or a SampleError.
        batches: iterable over lists of tickets; has a length when the data set has an end.
        collate: samples -> Batch.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        keys: Sequence[str],
        *,
        convert: Callable[[Any], Any],
        threads: int = 0,
    ) -> None:
        single = dataset.batch_size is None
        self.samples = Samples(dataset.loader(keys), threads)
        self.batches = Batches(dataset)
        self.collate = Collate(keys, convert, single=single)
        self._single = single
        self._policy = dataset.on_error
        self._per_epoch = len(dataset.order())

    def good(self, batches: Iterable[Batch]) -> Iterator[list[Any]]:
        """What a loader of these pieces made, without bad samples.

        Args:
            batches: as `collate` made them.

        Raises:
            SampleError: there is one, and the data set is to stop at it.
            DataError: all samples of an epoch are bad.
        """
        bad = BadSamples(self._policy)
        seen = in_a_row = 0
        try:
            for columns, count, errors in batches:
                seen += count + len(errors)
                in_a_row = 0 if count else in_a_row + len(errors)
                for error in errors:
                    bad.met(error)
                if in_a_row >= self._per_epoch:
                    raise DataError(f"no sample can be read; the last one: {errors[-1]}")
                if self._single:
                    yield from columns
                elif count:
                    yield columns
        finally:
            bad.report(seen)


class Samples:
    """Samples by their tickets; an error in the place of one that cannot be read."""

    def __init__(self, load: SampleLoader, threads: int) -> None:
        self._load = load
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._pool_pid = 0

    def __getitem__(self, ticket: int) -> Sample | SampleError:
        try:
            return self._load(ticket)
        except SampleError as error:
            return error

    def __getitems__(self, some: list[int]) -> list[Sample | SampleError]:
        if not self._threads:
            return [self[ticket] for ticket in some]
        if self._pool is None or self._pool_pid != os.getpid():
            self._pool, self._pool_pid = ThreadPoolExecutor(self._threads), os.getpid()
        return list(self._pool.map(self.__getitem__, some))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_pool": None}


class Batches:
    """Tickets, batch by batch."""

    def __init__(self, dataset: ImageDataset) -> None:
        self._order = dataset.order()
        self._total = dataset.num_samples
        self._size = dataset.batch_size or SINGLE_TOGETHER
        self._drop = dataset.drop_remainder and dataset.batch_size is not None

    def __iter__(self) -> Iterator[list[int]]:
        numbers = tickets(self._order, self._total)
        while batch := list(islice(numbers, self._size)):
            if len(batch) == self._size or not self._drop:
                yield batch

    def __len__(self) -> int:
        return self._order.batches(self._size, drop_remainder=self._drop)


class Collate:
    """Makes a Batch of samples."""

    def __init__(self, keys: Sequence[str], convert: Callable[[Any], Any], *, single: bool) -> None:
        self._keys = list(keys)
        self._convert = convert
        self._single = single

    def __call__(self, samples: Sequence[Sample | SampleError]) -> Batch:
        good = [sample for sample in samples if not isinstance(sample, SampleError)]
        errors = [sample for sample in samples if isinstance(sample, SampleError)]
        columns: list[Any]
        if self._single:
            columns = [[self._convert(one[key]) for key in self._keys] for one in good]
        else:
            stacked = stack(good, self._keys) if good else []
            columns = [self._convert(column) for column in stacked]
        return columns, len(good), errors
