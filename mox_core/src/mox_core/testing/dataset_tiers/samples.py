"""The tests of DatasetSuite."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mox_core.data import (
    AsyncRawGenerator,
    DatasetProvider,
    ImageDataset,
    Order,
    SampleError,
    Shard,
    Source,
)
from mox_core.data.images import decode_image
from mox_core.errors import MoxError

__all__ = ["DatasetTier"]

_LOOKED_AT = 50
"""Samples of a split that are looked at."""


class DatasetTier:
    """Tests of one provider."""

    @pytest.fixture
    def provider(self) -> DatasetProvider:
        """Returns the provider. To be overridden."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture provider")

    @pytest.fixture
    def dataset_dir(self) -> str | os.PathLike[str]:
        """Returns a folder, or a URL, with samples of at least one split. To be overridden."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture dataset_dir")

    @pytest.fixture
    def sources(
        self, provider: DatasetProvider, dataset_dir: str | os.PathLike[str]
    ) -> dict[str, Source]:
        """The splits whose files are there."""
        found: dict[str, Source] = {}
        problem: MoxError | None = None
        for split in provider.meta.splits_to_sizes:
            try:
                found[split] = provider.source(split, os.fspath(dataset_dir))
            except MoxError as error:
                problem = error
        assert found, f"no split of {provider.meta.name} can be read in {dataset_dir}: {problem}"
        return found

    def test_what_is_known_without_files(self, provider: DatasetProvider) -> None:
        meta = provider.meta
        assert meta.name
        assert meta.num_classes > 0
        assert meta.splits_to_sizes
        assert all(split and size > 0 for split, size in meta.splits_to_sizes.items())
        assert all(0 <= label < meta.num_classes for label in meta.labels_to_names)
        assert set(meta.items_to_descriptions) >= {"image", "label"}

    def test_samples_are_images_with_labels_of_known_classes(
        self, provider: DatasetProvider, sources: dict[str, Source]
    ) -> None:
        for split, source in sources.items():
            assert len(source) > 0, split
            assert {"image", "label"} <= set(source.features)
            assert source.num_classes == provider.meta.num_classes
            for index in _indices(source):
                sample = source.read(index)
                assert set(sample) == set(source.features), source.name(index)
                _check_image(sample["image"], source, index)
                label = sample["label"]
                if isinstance(label, np.ndarray):
                    assert label.shape == (source.num_classes,), source.name(index)
                    assert set(np.unique(label)) <= {0, 1}, source.name(index)
                else:
                    assert type(label) is int, source.name(index)
                    assert 0 <= label < source.num_classes, source.name(index)

    def test_every_sample_has_a_name_of_its_own(self, sources: dict[str, Source]) -> None:
        for source in sources.values():
            names = [source.name(index) for index in _indices(source)]
            assert all(isinstance(name, str) and name for name in names)
            assert len(set(names)) == len(names)

    def test_a_sample_is_the_same_whenever_and_wherever_it_is_read(
        self, sources: dict[str, Source]
    ) -> None:
        for source in sources.values():
            indices = _indices(source)
            first = [source.read(index) for index in indices]
            with ThreadPoolExecutor(4) as pool:
                in_threads = list(pool.map(source.read, reversed(indices)))
            copy = pickle.loads(pickle.dumps(source))
            assert len(copy) == len(source)
            for index, sample, other in zip(indices, first, reversed(in_threads), strict=True):
                _check_equal(sample, other, source.name(index))
                _check_equal(sample, copy.read(index), source.name(index))

    def test_another_process_can_read_it(self, sources: dict[str, Source]) -> None:
        source = next(iter(sources.values()))
        index = len(source) - 1
        reader = AsyncRawGenerator(source, [index], num_readers=1)
        (sample,) = reader
        assert not isinstance(sample, SampleError), sample
        _check_equal(sample, source.read(index), source.name(index))

    def test_blocks_hold_all_samples(self, sources: dict[str, Source]) -> None:
        for source in sources.values():
            if source.blocks is not None:
                assert source.blocks.dtype.kind == "i"
                assert (source.blocks >= 0).all()
                assert int(source.blocks.sum()) == len(source)
            parts = [
                Order(source, shuffle=True, shard=Shard(number, 3)).epoch(0) for number in range(3)
            ]
            assert sorted(np.concatenate(parts).tolist()) == list(range(len(source)))

    def test_batches(self, sources: dict[str, Source]) -> None:
        for source in sources.values():
            dataset = ImageDataset(source, 2, num_epochs=1, image_size=8)
            images, labels = next(iter(dataset))
            assert images.shape == (min(2, len(source)), 8, 8, source.channels)
            assert images.dtype == np.uint8
            assert len(labels) == len(images)

    def test_files_that_are_not_there_are_told_of(
        self, provider: DatasetProvider, tmp_path: Path
    ) -> None:
        for split in provider.meta.splits_to_sizes:
            with pytest.raises(MoxError) as caught:
                provider.source(split, str(tmp_path / "nothing here"))
            assert "nothing here" in str(caught.value), "the message has to name the folder"


def _indices(source: Source) -> list[int]:
    """The first samples and the last one."""
    return [*range(min(_LOOKED_AT, len(source) - 1)), len(source) - 1]


def _check_image(image: Any, source: Source, index: int) -> None:
    if isinstance(image, bytes):
        image = decode_image(image, source.channels)
    assert isinstance(image, np.ndarray), source.name(index)
    assert image.dtype == np.uint8, source.name(index)
    assert image.ndim == 3, source.name(index)
    assert image.shape[2] == source.channels, source.name(index)


def _check_equal(one: dict[str, Any], other: dict[str, Any], name: str) -> None:
    assert one.keys() == other.keys(), name
    for key, value in one.items():
        assert np.array_equal(value, other[key]), f"{name}: {key}"
