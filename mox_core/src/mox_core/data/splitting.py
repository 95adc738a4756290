"""split_image_classification_dataset: one folder of images into one to train with and others."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

from mox_core.data.labels import format_labels
from mox_core.data.metadata import ImageClassificationRawMetadata
from mox_core.errors import DataError
from mox_core.storage import api as file

__all__ = ["split_image_classification_dataset"]

LOG = logging.getLogger("mox")


def split_image_classification_dataset(
    split_spec: Mapping[str, float],
    src_dir: str | os.PathLike[str],
    dst_dir: str | os.PathLike[str],
    overwrite: bool = False,
    *,
    seed: int = 0,
) -> dict[str, int]:
    """Copies a folder with a folder of images per class into several, each class in proportion.

        split_image_classification_dataset(
            split_spec={"train": 0.9, "eval": 0.1},
            src_dir="s3://bucket/flower_photos",
            dst_dir="s3://bucket/flowers",
        )

    makes `s3://bucket/flowers/train/<class>/*.jpg` and `.../eval/<class>/*.jpg`. Each part gets a
    labels.txt with all classes, so that labels mean the same in all of them. When copying fails,
    what was begun is removed again.

    Args:
        split_spec: name of a part -> its share of each class, from 0 to 1; 1 or less in all.
        src_dir: the folder, a local path or a URL; it is only read.
        dst_dir: gets a folder per part, a local path or a URL.
        overwrite: replace parts that exist.
        seed: decides which image goes where; the same images and seed give the same parts.

    Returns:
        Name of a part -> number of its images.

    Raises:
        DataError: split_spec does not fit, src_dir has no images, or a part exists.
        MoxFileRespException: files could not be copied.
    """
    shares = _checked(split_spec)
    metadata = ImageClassificationRawMetadata(src_dir)
    target = os.fspath(dst_dir).rstrip("/")
    folders = {name: f"{target}/{name}" for name in shares}
    for folder in folders.values():
        if not overwrite and file.exists(folder):
            raise DataError(
                f"{folder} exists already.\n  Choose another dst_dir, or pass overwrite=True."
            )
    parts = _parts(metadata, shares, seed)
    begun = []
    try:
        for name, files in parts.items():
            begun.append(folders[name])
            if overwrite:
                file.remove(folders[name], recursive=True)
            file.make_dirs(folders[name])
            if files:
                file.copy_parallel(metadata.base_dir, folders[name], file_list=files)
            file.write(f"{folders[name]}/labels.txt", format_labels(metadata.labels_list))
            LOG.info("%s: %d images", folders[name], len(files))
    except BaseException:
        for folder in begun:
            file.remove(folder, recursive=True)
        raise
    return {name: len(files) for name, files in parts.items()}


def _checked(split_spec: Mapping[str, float]) -> dict[str, float]:
    if not isinstance(split_spec, Mapping) or not split_spec:
        raise DataError(f"split_spec is {split_spec!r}: give a dict such as {{'train': 0.9}}.")
    for name, share in split_spec.items():
        if not isinstance(name, str) or not name.strip(". ") or "/" in name:
            raise DataError(f"split_spec: {name!r} cannot be the name of a folder.")
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
            raise DataError(f"split_spec: the share of {name!r} is {share!r}, not from 0 to 1.")
    if sum(split_spec.values()) > 1 + 1e-9:
        raise DataError(f"split_spec: the shares make {sum(split_spec.values()):g}, more than 1.")
    return dict(split_spec)


def _parts(
    metadata: ImageClassificationRawMetadata, shares: Mapping[str, float], seed: int
) -> dict[str, list[str]]:
    import numpy as np

    chance = np.random.default_rng(seed)
    parts: dict[str, list[str]] = {name: [] for name in shares}
    for label in range(metadata.num_classes):
        ours = [metadata.files[at] for at in (metadata.labels == label).nonzero()[0].tolist()]
        shuffled = [ours[at] for at in chance.permutation(len(ours)).tolist()]
        begin, total = 0, 0.0
        for name, share in shares.items():
            total += share
            end = round(len(shuffled) * min(total, 1.0))
            parts[name] += sorted(shuffled[begin:end])
            begin = end
    return parts
