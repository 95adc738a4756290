from __future__ import annotations

import gzip
import importlib.util
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).parents[2] / "examples" / "mnist_data.py"


@pytest.fixture(scope="module")
def mnist_data():
    spec = importlib.util.spec_from_file_location("mnist_data", PATH)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "mnist_data", module)  # its dataclass looks there
        spec.loader.exec_module(module)
    return module


def write_idx(path, values, magic=None):
    values = np.asarray(values, np.uint8)
    magic = 0x0800 + values.ndim if magic is None else magic
    shape = struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(struct.pack(">I", magic) + shape + values.tobytes())


@pytest.fixture
def folder(tmp_path):
    for prefix, count in (("train", 30), ("t10k", 7)):
        images = np.arange(count)[:, None, None] * np.ones((1, 28, 28))
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte", images)
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte", np.arange(count) % 10)
    return tmp_path


def test_the_digits_that_ship(mnist_data):
    digits = mnist_data.read_data_sets()
    assert (digits.train.num_examples, digits.test.num_examples) == (1438, 359)
    for part in (digits.train, digits.test):
        assert part.images.shape == (part.num_examples, 784)
        assert part.images.dtype == np.float32
        assert (part.images.min(), part.images.max()) == (0, 1)
        assert set(part.labels) == set(range(10))
    # They are digits: the nearest training image has the same label nearly always.
    distances = (
        np.square(digits.test.images).sum(1)[:, None]
        - 2 * digits.test.images @ digits.train.images.T
        + np.square(digits.train.images).sum(1)
    )
    nearest = digits.train.labels[distances.argmin(1)]
    assert np.mean(nearest == digits.test.labels) > 0.97


def test_reads_plain_and_gzipped_files(mnist_data, folder):
    plain = mnist_data.read_data_sets(str(folder))
    for path in list(folder.iterdir()):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    zipped = mnist_data.read_data_sets(str(folder))
    assert np.array_equal(plain.train.images, zipped.train.images)
    assert np.array_equal(plain.test.labels, zipped.test.labels)
    np.testing.assert_allclose(plain.train.images[:, 0] * 255, np.arange(30), rtol=1e-6)


def test_one_hot_labels(mnist_data, folder):
    classes = mnist_data.read_data_sets(str(folder)).train.labels
    one_hot = mnist_data.read_data_sets(str(folder), one_hot=True).train.labels
    assert one_hot.shape == (30, 10)
    assert np.array_equal(one_hot.argmax(1), classes)
    assert np.array_equal(one_hot.sum(1), np.ones(30))


def test_next_batch_gives_every_image_once_per_epoch(mnist_data, folder):
    train = mnist_data.read_data_sets(str(folder)).train
    seen = np.concatenate([train.next_batch(20)[0][:, 0] for _ in range(6)]) * 255
    epochs = np.rint(seen).astype(int).reshape(4, 30)
    for epoch in epochs:
        assert sorted(epoch) == list(range(30))
    assert list(epochs[0]) != list(epochs[1])


def test_the_order_follows_the_seed(mnist_data, folder):
    def first_labels(seed):
        return list(mnist_data.read_data_sets(str(folder), seed=seed).train.next_batch(30)[1])

    assert first_labels(1) == first_labels(1)
    assert first_labels(1) != first_labels(2)


def test_batches_give_every_image_once_in_order(mnist_data, folder):
    batches = list(mnist_data.read_data_sets(str(folder)).test.batches(3))
    assert [len(images) for images, _ in batches] == [3, 3, 1]
    assert list(np.concatenate([labels for _, labels in batches])) == list(range(7))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: shutil.rmtree(f), r"has no train-images-idx3-ubyte\.gz"),
        (lambda f: (f / "t10k-labels-idx1-ubyte").unlink(), r"has no t10k-labels-idx1-ubyte\.gz"),
        (
            lambda f: shutil.copy(f / "train-labels-idx1-ubyte", f / "train-images-idx3-ubyte"),
            "does not begin with the bytes 00 00 08 03",
        ),
        (
            lambda f: (f / "train-images-idx3-ubyte").write_bytes(
                (f / "train-images-idx3-ubyte").read_bytes()[:-1]
            ),
            "should hold 30 x 28 x 28 bytes and holds 23519",
        ),
        (lambda f: (f / "train-images-idx3-ubyte").write_bytes(b""), "does not begin with"),
        (
            lambda f: (f / "train-images-idx3-ubyte").write_bytes(struct.pack(">IH", 2051, 1)),
            "ends after 6 bytes",
        ),
        (
            lambda f: (f / "train-images-idx3-ubyte.gz").write_bytes(
                gzip.compress(bytes(1000))[:20]
            ),
            "cannot be unpacked",
        ),
        (
            lambda f: (f / "train-images-idx3-ubyte.gz").write_bytes(b"<html>not found</html>"),
            "does not begin with",
        ),
        (
            lambda f: write_idx(f / "train-labels-idx1-ubyte", [1, 2, 3]),
            "has 3 labels for 30 images",
        ),
        (
            lambda f: write_idx(f / "train-labels-idx1-ubyte", [10] * 30),
            "digits go from 0 to 9",
        ),
    ],
)
def test_bad_files_are_named(mnist_data, folder, damage, message):
    damage(folder)
    with pytest.raises(mnist_data.DataError, match=message) as caught:
        mnist_data.read_data_sets(str(folder))
    assert str(folder) in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2
