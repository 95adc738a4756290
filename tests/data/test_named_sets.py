"""Data sets by name, from TF-slim's layouts and the original files."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
from sample_files import encode, noise, upload

import mox_core as mox
from mox_core.data.example import format_example
from mox_core.data.tfrecord import TFRecordWriter
from mox_core.errors import DataError, PluginError

DIGITS = Path(__file__).parents[2] / "examples" / "data" / "digits"


def write_idx(path, values):
    values = np.asarray(values, np.uint8)
    header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    content = header + values.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture
def mnist(tmp_path):
    for prefix, count in (("train", 30), ("t10k", 7)):
        images = np.arange(count)[:, None, None] * np.ones((1, 28, 28))
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte.gz", images)
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", np.arange(count) % 10)
    return tmp_path


def once(name, split, folder, **options):
    return list(mox.get_dataset(name, split, folder, num_epochs=1, shuffle=False, **options))


def test_what_is_known_without_files():
    meta = mox.get_dataset_meta("mnist")
    train, test = meta.splits_to_sizes.keys()
    assert (train, test, meta.num_classes) == ("train", "test", 10)
    assert mox.get_dataset_meta("cifar100").labels_to_names[99] == "worm"
    assert len(set(mox.get_dataset_meta("cifar100").labels_to_names.values())) == 100
    assert list(mox.get_dataset_meta("flowers").splits_to_sizes) == ["train", "validation"]
    assert mox.get_dataset_meta("imagenet").num_classes == 1001


def test_mnist_from_its_four_files(mnist, store):
    ((images, labels),) = once("mnist", "test", mnist, batch_size=10)
    assert (images.shape, images.dtype) == ((7, 28, 28, 1), np.uint8)
    assert images[:, 3, 4, 0].tolist() == labels.tolist() == list(range(7))
    (mnist / "t10k-images-idx3-ubyte.gz").rename(mnist / "t10k-images.idx3-ubyte")
    assert len(once("mnist", "test", mnist)) == 7
    assert len(once("mnist", "train", upload(store, mnist, "mnist") + "/")) == 30


def test_the_digits_of_the_examples():
    dataset = mox.get_dataset("mnist", "train", DIGITS, 100, num_epochs=1)
    assert dataset.num_samples == 1438
    images, labels = next(iter(dataset))
    assert images.shape[0] == 100 and images.shape[3] == 1
    assert set(labels.tolist()) == set(range(10))


@pytest.mark.parametrize(
    ("name", "split", "file", "shape"),
    [
        ("mnist", "train", "mnist_train.tfrecord", (12, 16, 1)),
        ("cifar10", "test", "cifar10_test.tfrecord", (12, 16, 3)),
        ("flowers", "validation", "flowers_validation_00000-of-00005.tfrecord", (12, 16, 3)),
        ("imagenet", "train", "train-00000-of-01024", (12, 16, 3)),
    ],
)
def test_the_layouts_of_tf_slim(name, split, file, shape, tmp_path):
    with TFRecordWriter(tmp_path / file) as writer:
        for label in range(3):
            image = noise(label) if shape[2] == 3 else noise(label)[..., :1]
            features = {
                "image/encoded": encode(image.repeat(3 // shape[2], 2), ".png"),
                "image/format": "png",
                "image/class/label": label,
            }
            writer.write(format_example(features))
    (tmp_path / "validation-00000-of-00128").write_bytes(b"another split")
    samples = once(name, split, tmp_path)
    assert [label for _, label in samples] == [0, 1, 2]
    assert samples[1][0].shape == shape
    assert np.array_equal(samples[1][0][..., 0], noise(1)[..., 0])


@pytest.fixture(params=["folder", "inside", "archive"])
def place(request):
    return request.param


@pytest.mark.parametrize("kind", ["python", "binary"])
@pytest.mark.parametrize("classes", [10, 100])
def test_cifar_from_its_original_files(classes, kind, place, tmp_path):
    chance = np.random.default_rng(0)
    names = [f"data_batch_{n}" for n in range(1, 6)] if classes == 10 else ["train"]
    files, images, labels = {}, [], []
    for name in names:
        pixels = chance.integers(0, 256, (4, 32, 32, 3), np.uint8)
        fine = chance.integers(0, classes, 4)
        rows = pixels.transpose(0, 3, 1, 2).reshape(4, 3072)
        images.append(pixels)
        labels.append(fine)
        if kind == "python":
            key = b"labels" if classes == 10 else b"fine_labels"
            batch = pickle.dumps({b"data": rows, key: fine.tolist()}, protocol=2)
            # As the NumPy wrote that the originals were made with.
            files[name] = batch.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
        else:
            bytes_of_label = [fine] if classes == 10 else [fine // 5, fine]
            columns = [part.astype(np.uint8)[:, None] for part in bytes_of_label]
            files[name + ".bin"] = np.concatenate([*columns, rows], 1).tobytes()
    if classes == 10:
        folder = "cifar-10-batches-py" if kind == "python" else "cifar-10-batches-bin"
    else:
        folder = f"cifar-100-{kind}"
    if place == "archive":
        with tarfile.open(tmp_path / f"cifar-{classes}-{kind}.tar.gz", "w:gz") as archive:
            for name, content in files.items():
                member = tarfile.TarInfo(f"{folder}/{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    else:
        target = tmp_path / folder if place == "folder" else tmp_path
        target.mkdir(exist_ok=True)
        for name, content in files.items():
            (target / name).write_bytes(content)
    ((read, read_labels),) = once(f"cifar{classes}", "train", tmp_path, batch_size=100)
    assert np.array_equal(read, np.concatenate(images))
    assert np.array_equal(read_labels, np.concatenate(labels))


class Evil:
    def __reduce__(self):
        return print, ("a pickle ran a program",)


def test_a_pickle_that_runs_programs_is_refused(tmp_path, capfd):
    for number in range(1, 6):
        (tmp_path / f"data_batch_{number}").write_bytes(pickle.dumps({b"data": Evil()}))
    with pytest.raises(DataError, match=r"data_batch_1 is no batch of CIFAR .*builtins.print"):
        mox.get_dataset("cifar10", "train", tmp_path)
    assert capfd.readouterr().out == ""


def break_mnist(how):
    def damage(folder):
        path = folder / "train-images-idx3-ubyte.gz"
        content = gzip.decompress(path.read_bytes())
        if how == "cut":
            path.write_bytes(gzip.compress(content[:-1]))
        elif how == "header":
            path.write_bytes(gzip.compress(content[:9]))
        elif how == "gzip":
            path.write_bytes(path.read_bytes()[:50])
        elif how == "page":
            path.write_bytes(b"<html>not found</html>")
        elif how == "labels":
            write_idx(folder / "train-labels-idx1-ubyte.gz", [1, 2, 3])
        elif how == "digit":
            write_idx(folder / "train-labels-idx1-ubyte.gz", [10] * 30)
        elif how == "alone":
            (folder / "train-labels-idx1-ubyte.gz").unlink()
        else:
            path.unlink()

    return damage


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cut", "should hold 30 x 28 x 28 bytes and holds 23519"),
        ("header", r"ends after \d+ bytes"),
        ("gzip", "cannot be unpacked"),
        ("page", "does not begin with the bytes 00 00 08 03"),
        ("labels", "has 30 images and 3 labels"),
        ("digit", "has a label 10; digits go from 0 to 9"),
        ("alone", r"has no train-labels-idx1-ubyte\(.gz\)"),
        ("gone", r"neither train-images-idx3-ubyte\(.gz\) nor mnist_train.tfrecord"),
    ],
)
def test_damaged_files_are_named(mnist, how, message):
    break_mnist(how)(mnist)
    with pytest.raises(DataError, match=message) as caught:
        mox.get_dataset("mnist", "train", mnist)
    assert str(mnist) in str(caught.value)


def test_names_that_do_not_exist(mnist):
    with pytest.raises(PluginError, match=r"data set 'mnst' is not installed .* mean 'mnist'"):
        mox.get_dataset_meta("mnst")
    with pytest.raises(DataError, match="has no split 'eval'; it has train, test"):
        mox.get_dataset("mnist", "eval", mnist)
    with pytest.raises(DataError, match=r"has none of cifar-10-batches-py, .*\n  Download one"):
        mox.get_dataset("cifar10", "train", mnist)
