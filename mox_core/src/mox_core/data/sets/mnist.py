"""mnist: handwritten digits, from the four original files or TF-slim's TFRecord files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mox_core.data.idx import read_idx
from mox_core.data.provider import DatasetMeta, DatasetProvider, TFRecordProvider
from mox_core.data.source import ArraySource, Source
from mox_core.errors import DataError
from mox_core.storage import api as file

if TYPE_CHECKING:
    from mox_core.data.cache import LocalCache

__all__ = ["Mnist"]

_PREFIXES = {"train": "train", "test": "t10k"}


class Mnist(DatasetProvider):
    """MNIST, or another data set in its format, such as Fashion-MNIST."""

    meta = DatasetMeta(
        "mnist",
        10,
        {"train": 60000, "test": 10000},
        {digit: str(digit) for digit in range(10)},
        {"image": "uint8 image of 28 x 28 x 1", "label": "the digit"},
    )

    def source(
        self, split_name: str, dataset_dir: str, *, cache: LocalCache | None = None
    ) -> Source:
        """The digits of a split; those of the original files are held in memory."""
        prefix = _PREFIXES[split_name]
        images_url = _find(dataset_dir, f"{prefix}-images", "idx3-ubyte")
        if images_url is None:
            records = TFRecordProvider(self.meta, "mnist_%s.tfrecord", channels=1)
            try:
                return records.source(split_name, dataset_dir, cache=cache)
            except DataError as error:
                if "no file" not in str(error):
                    raise
                raise DataError(
                    f"{dataset_dir} has neither {prefix}-images-idx3-ubyte(.gz) nor "
                    f"mnist_{split_name}.tfrecord.\n  Download MNIST's four files into it."
                ) from None
        labels_url = _find(dataset_dir, f"{prefix}-labels", "idx1-ubyte")
        if labels_url is None:
            raise DataError(
                f"{dataset_dir} has no {prefix}-labels-idx1-ubyte(.gz). Download it, too."
            )
        images = read_idx(images_url, 3)
        labels = read_idx(labels_url, 1).astype(np.int64)
        if labels.size and labels.max() >= self.meta.num_classes:
            raise DataError(f"{labels_url} has a label {labels.max()}; digits go from 0 to 9.")
        return ArraySource(images[..., None], labels, self.meta.labels_to_names, where=images_url)


def _find(folder: str, stem: str, kind: str) -> str | None:
    """The file in one of the spellings that are around."""
    for separator in "-.":
        for ending in (".gz", ""):
            url = f"{folder}/{stem}{separator}{kind}{ending}"
            if file.exists(url) and not file.is_directory(url):
                return url
    return None
