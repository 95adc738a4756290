from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "storage")]

from sample_files import encode, noise  # noqa: E402
from servers.fixtures import (  # noqa: E402, F401
    object_store,
    rclone_settings,
    running_object_store,
    store_settings,
)

from mox_core.data.example import format_example  # noqa: E402
from mox_core.data.tfrecord import TFRecordWriter  # noqa: E402


@pytest.fixture
def flowers(tmp_path):
    """Three classes with 5, 3 and 4 images."""
    folder = tmp_path / "flowers"
    seed = 0
    for name, count in (("tulip", 4), ("daisy", 5), ("rose", 3)):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            (folder / name / f"{number}.jpg").write_bytes(encode(noise(seed)))
            seed += 1
    return folder


@pytest.fixture
def records(tmp_path):
    """Three TFRecord files with 5, 6 and 7 records; the label is the number of the record."""
    folder = tmp_path / "records"
    label = 0
    for number in range(3):
        with TFRecordWriter(folder / f"train_{number}.tfrecord") as writer:
            for _ in range(5 + number):
                image = encode(noise(label))
                features = {"image/encoded": image, "image/class/label": label}
                writer.write(format_example(features))
                label += 1
    return folder


def reach(settings):
    """Lets mox.file reach a server as s3://bucket."""
    pytest.importorskip("mox_storage_s3")
    from mox_core import file

    file.set_auth(
        ak=settings.ak,
        sk=settings.sk,
        server=settings.server,
        port=settings.port,
        is_secure=False,
        path_style=True,
        retry=12,
        retry_wait=0.01,
    )


@pytest.fixture
def store(object_store, store_settings):  # noqa: F811
    """The object store of the storage tests, reached as s3://bucket by mox.file."""
    reach(store_settings)
    return object_store


@pytest.fixture
def rclone(rclone_settings):  # noqa: F811
    """`rclone serve s3`, reached as s3://bucket by mox.file."""
    reach(rclone_settings)
