"""Every sample exactly once per epoch per world, in an order that follows from the seed."""

from __future__ import annotations

import numpy as np
import pytest

from mox_core.data import ArraySource, Order, Shard, Source
from mox_core.errors import DataError


class Blocky(Source):
    """Numbers that lie in blocks."""

    def __init__(self, *blocks):
        self._blocks = np.array(blocks, np.int64)

    def __len__(self):
        return int(self._blocks.sum())

    @property
    def blocks(self):
        return self._blocks

    def read(self, index):
        return {"label": index}

    def name(self, index):
        return str(index)


def plain(count):
    return ArraySource(np.zeros((count, 1, 1, 3), np.uint8), np.zeros(count, int), {}, where="x")


SOURCES = [plain(17), plain(2), Blocky(5, 1, 9, 2), Blocky(17), Blocky(*[1] * 17), Blocky(0, 3, 0)]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("world", [1, 2, 3, 5, 20])
@pytest.mark.parametrize("shuffle", [True, False])
def test_shards_cover_every_epoch_exactly_and_evenly(source, world, shuffle):
    for epoch in range(2):
        parts = [
            Order(source, shuffle=shuffle, shard=Shard(rank, world), buffer_size=4).epoch(epoch)
            for rank in range(world)
        ]
        assert sorted(np.concatenate(parts)) == list(range(len(source)))
        sizes = [len(part) for part in parts]
        assert max(sizes) - min(sizes) <= 1
        assert sizes == [
            len(Order(source, shuffle=False, shard=Shard(r, world))) for r in range(world)
        ]


@pytest.mark.parametrize("source", [plain(50), Blocky(*[5] * 10)])
def test_the_order_follows_the_seed_and_changes_with_the_epoch(source):
    def first(seed, epoch=0):
        return Order(source, shuffle=True, seed=seed).epoch(epoch).tolist()

    assert first(1) == first(1)
    assert first(1) != first(2)
    assert first(1) != first(1, epoch=1)
    assert Order(source, shuffle=False, seed=1).epoch(3).tolist() == list(range(50))


def test_epochs_end_or_go_on_and_can_begin_later():
    order = Order(plain(7), shuffle=True, num_epochs=3)
    assert len(list(order)) == 21
    later = Order(plain(7), shuffle=True, num_epochs=1, first_epoch=2)
    assert list(later) == list(order)[14:]
    endless = iter(Order(plain(7), shuffle=True))
    assert len([next(endless) for _ in range(100)]) == 100
    assert list(Order(plain(0), shuffle=True)) == []
    assert list(Order(plain(2), shuffle=True, shard=Shard(0, 3))) == []


def test_blocks_are_read_nearly_in_one_piece():
    source = Blocky(*[10] * 100)
    indices = Order(source, shuffle=True, buffer_size=50).epoch(0)
    blocks = indices // 10
    first_use = {block: at for at, block in reversed(list(enumerate(blocks.tolist())))}
    last_use = {block: at for at, block in enumerate(blocks.tolist())}
    spans = [last_use[block] - first_use[block] for block in first_use]
    assert np.median(spans) < 250  # of 1000
    assert indices.tolist() != sorted(indices)


def test_a_shard_that_does_not_exist():
    with pytest.raises(DataError, match="no shard 2 of 2: count from 0 to 1"):
        Shard(2, 2)
