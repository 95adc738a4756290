"""flowers, imagenet: TFRecord files as TF-slim's scripts write them."""

from __future__ import annotations

from mox_core.data.provider import DatasetMeta, TFRecordProvider

__all__ = ["FLOWERS", "IMAGENET"]

FLOWERS = TFRecordProvider(
    DatasetMeta(
        "flowers",
        5,
        {"train": 3320, "validation": 350},
        dict(enumerate(["daisy", "dandelion", "roses", "sunflowers", "tulips"])),
    ),
    "flowers_%s_*.tfrecord",
)

IMAGENET = TFRecordProvider(
    DatasetMeta(
        "imagenet",
        1001,
        {"train": 1281167, "validation": 50000},
        items_to_descriptions={
            "image": "uint8 RGB image",
            "label": "number of the class; 0 is the background",
            "label_desc": "the class in words",
        },
    ),
    "%s-*",
)
