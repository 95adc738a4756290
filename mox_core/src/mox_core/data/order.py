"""In which order the samples of a source are read: every one once per epoch, over all processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mox_core.data.shards import Shard

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from mox_core.data.source import Source

    Indices = npt.NDArray[np.int64]

__all__ = ["Order"]


class Order:
    """The order of the samples, epoch by epoch. It follows from its arguments alone.

    All shards together give every sample once per epoch, and differ in size by one at most. A
    source without blocks is shuffled as a whole. One with blocks (TFRecord files) has its blocks
    shuffled, each shard gets some of them, and samples are drawn from a buffer that is filled from
    them one after the other, so that files are still read nearly from front to back.

    Args:
        source: what is read.
        shuffle: False: as they are.
        seed: of the shuffling; the same in all processes.
        shard: which part to give.
        num_epochs: after how many epochs to end; None: never.
        first_epoch: number of the first epoch; each has another order.
        buffer_size: samples to draw from, for a source with blocks.
    """

    def __init__(
        self,
        source: Source,
        *,
        shuffle: bool,
        seed: int = 0,
        shard: Shard | None = None,
        num_epochs: int | None = None,
        first_epoch: int = 0,
        buffer_size: int = 6400,
    ) -> None:
        self._total = len(source)
        self._blocks = source.blocks
        self._shuffle = shuffle
        self._seed = seed
        self._shard = shard or Shard()
        self.num_epochs = num_epochs
        self.first_epoch = first_epoch
        self._buffer_size = max(1, buffer_size)

    def __len__(self) -> int:
        """Samples per epoch of this shard."""
        first, end = self._shard.bounds(self._total)
        return end - first

    def batches(self, size: int, *, drop_remainder: bool) -> int:
        """How many batches all epochs give this shard.

        Raises:
            TypeError: there is no end.
        """
        if self.num_epochs is None:
            raise TypeError("a data set has no length without num_epochs")
        count = len(self) * self.num_epochs
        return count // size if drop_remainder else -(-count // size)

    def epoch(self, number: int) -> Indices:
        """The samples of one epoch of this shard, in order."""
        import numpy as np

        first, end = self._shard.bounds(self._total)
        if not self._shuffle:
            return np.arange(first, end)
        # The same numbers in all processes up to the cut into shards.
        chance = np.random.default_rng([self._seed & 0xFFFFFFFF, number])
        if self._blocks is None:
            return chance.permutation(self._total)[first:end]
        starts = np.cumsum(self._blocks) - self._blocks
        blocks = chance.permutation(len(starts))
        ends = np.cumsum(self._blocks[blocks])
        kept = np.arange(np.searchsorted(ends, first, "right"), np.searchsorted(ends, end) + 1)
        runs = []
        for at in kept[: len(blocks)]:
            block = blocks[at]
            before = ends[at] - self._blocks[block]
            run = np.arange(max(first, before), min(end, ends[at])) - before + starts[block]
            runs.append(run)
        indices = np.concatenate(runs) if runs else np.empty(0, np.int64)
        own = np.random.default_rng([self._seed & 0xFFFFFFFF, number, self._shard.index])
        return _drawn_from_buffer(indices, self._buffer_size, own)

    def epochs(self) -> Iterator[Indices]:
        """The samples of one epoch after the other."""
        number = self.first_epoch
        while self.num_epochs is None or number < self.first_epoch + self.num_epochs:
            yield self.epoch(number)
            number += 1

    def __iter__(self) -> Iterator[int]:
        """All samples of all epochs; none when there are no samples, however many epochs."""
        if len(self):
            for indices in self.epochs():
                yield from indices.tolist()


def _drawn_from_buffer(indices: Indices, size: int, chance: np.random.Generator) -> Indices:
    """What a shuffle buffer of this size would give, fed with these."""
    import numpy as np

    if size >= len(indices):
        return chance.permutation(indices)
    if size == 1:
        return indices
    buffer = indices[:size].tolist()
    drawn = chance.integers(0, size, len(indices) - size).tolist()
    out = []
    for place, new in zip(drawn, indices[size:].tolist(), strict=True):
        out.append(buffer[place])
        buffer[place] = new
    return np.concatenate([np.array(out, np.int64), chance.permutation(np.array(buffer))])
