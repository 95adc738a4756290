"""What the metadata classes say of a folder, and what they say when it is wrong."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from sample_files import encode, noise, upload

import mox_core as mox
from mox_core.data.labels import format_labels, parse_labels
from mox_core.errors import DataError


def test_classes_are_the_folders_in_alphabetical_order(flowers):
    (flowers / "README.txt").write_text("not an image")
    (flowers / "rose" / ".hidden.jpg").write_bytes(b"")
    (flowers / "rose" / "Thumbs.db").write_bytes(b"")
    meta = mox.ImageClassificationRawMetadata(flowers)
    assert meta.labels_list == ["daisy", "rose", "tulip"]
    assert meta.names_to_labels == {"daisy": 0, "rose": 1, "tulip": 2}
    assert (meta.total_num_samples, meta.num_classes) == (12, 3)
    assert meta.files[:2] == ["daisy/0.jpg", "daisy/1.jpg"]
    assert list(meta.labels) == [0] * 5 + [1] * 3 + [2] * 4


def test_labels_are_logged_so_that_training_and_serving_can_be_compared(flowers, caplog):
    mox.ImageClassificationRawMetadata(flowers)
    assert caplog.messages[-3:] == ["0: daisy", "1: rose", "2: tulip"]


@pytest.mark.parametrize(
    "text",
    [
        "0: tulip\n1: daisy\n2: rose\n",
        "0:tulip\r\n1:daisy\r\n2:rose",
        "tulip\ndaisy\n\nrose\n",
        "\ufeff2: rose\n0: tulip\n1: daisy\n",
        "0: tulip 1: daisy 2: rose",
    ],
)
def test_labels_txt_decides_in_every_spelling(flowers, text):
    (flowers / "labels.txt").write_bytes(text.encode())
    meta = mox.ImageClassificationRawMetadata(flowers)
    assert meta.labels_list == ["tulip", "daisy", "rose"]
    assert meta.files[0] == "tulip/0.jpg"
    assert list(np.bincount(meta.labels)) == [4, 5, 3]


def test_what_is_written_is_read():
    names = ["a b", "c: d", "7"]
    assert parse_labels(format_labels(names), "labels.txt") == dict(enumerate(names))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0: tulip\n1: daisy\n2: lily\n", "names 'lily', which is not a class folder"),
        ("0: tulip\n1: daisy\n", "lacks 'rose', which is a class folder"),
        ("0: tulip\n1: daisy\n3: rose\n", "has no label 2"),
        ("0: tulip\n1: daisy\n1: rose\n", "line 3: label 1 is there twice"),
        ("tulip\ndaisy\ntulip\n", "line 3: the name 'tulip' is there twice"),
        ("0: tulip\ndaisy\nrose\n", "line 2: 'daisy' is spelled unlike the first line"),
        ("0: tulip\n1: \xe9", "is not UTF-8"),
    ],
)
def test_labels_that_do_not_fit_are_named(flowers, text, message):
    (flowers / "labels.txt").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=message) as caught:
        mox.ImageClassificationRawMetadata(flowers)
    assert "labels.txt" in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2


def test_an_empty_class_keeps_its_label_and_is_warned_of(flowers, caplog):
    (flowers / "poppy").mkdir()
    meta = mox.ImageClassificationRawMetadata(flowers)
    assert meta.labels_list == ["daisy", "poppy", "rose", "tulip"]
    assert 1 not in meta.labels
    assert "no images in the class folder 'poppy'" in caplog.text


@pytest.mark.parametrize("folder", [None, "", 3])
def test_a_flag_that_was_not_given_is_no_folder(folder):
    for make in (
        lambda: mox.ImageClassificationRawMetadata(folder),
        lambda: mox.ImageClassificationTFRecordMetadata(folder, "train*"),
        lambda: mox.get_dataset("flowers", "train", folder),
    ):
        with pytest.raises(DataError, match=rf"_dir is {folder!r}: .*\n  Does it come from a flag"):
            make()


def test_folders_without_images_and_missing_folders_are_errors(flowers, tmp_path):
    for name in ("daisy", "rose", "tulip"):
        shutil.rmtree(flowers / name)
    (flowers / "0.jpg").write_bytes(encode(noise(1)))
    with pytest.raises(DataError, match="has no images in folders, one per class, only 1 files"):
        mox.ImageClassificationRawMetadata(flowers)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        mox.ImageClassificationRawMetadata(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no file of labels"):
        (flowers / "a").mkdir()
        (flowers / "0.jpg").rename(flowers / "a" / "0.jpg")
        mox.ImageClassificationRawMetadata(flowers, labels_filename="names.txt")


def test_images_come_from_the_redirect_dir(flowers, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(flowers, copy)
    (copy / "daisy" / "0.jpg").write_bytes(b"another")
    source = mox.ImageClassificationRawMetadata(flowers, redirect_dir=str(copy)).source()
    assert source.read(0)["image"] == b"another"


def test_a_bucket_says_the_same_as_a_folder(flowers, store):
    (flowers / "labels.txt").write_text("0: tulip\n1: daisy\n2: rose\n")
    local = mox.ImageClassificationRawMetadata(flowers)
    remote = mox.ImageClassificationRawMetadata(upload(store, flowers, "flowers") + "/")
    assert (remote.files, remote.labels_list) == (local.files, local.labels_list)
    assert remote.source().read(7) == local.source().read(7)


def test_tfrecord_metadata_counts_and_names(records):
    (records / "labels.txt").write_text("".join(f"{n}: class {n}\n" for n in range(18)))
    meta = mox.ImageClassificationTFRecordMetadata(records, "*train*.tfrecord")
    assert meta.files == [f"train_{number}.tfrecord" for number in range(3)]
    assert (meta.num_samples, meta.num_classes) == (18, 18)
    assert meta.labels_to_names[3] == "class 3"
    again = mox.ImageClassificationTFRecordMetadata(
        base_dir=records, file_patterns=["train_0*", "train_1*"], num_samples=5, num_classes=20
    )
    assert (again.num_samples, again.num_classes, len(again.files)) == (5, 20, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"file_pattern": "*eval*"},
            r"matches '\*eval\*'; it has 'labels.txt', 'train_0.tfrecord'",
        ),
        ({"file_pattern": ""}, "file_pattern says which files"),
        ({"file_pattern": "*train*", "num_classes": 2}, "num_classes is 2, but .* has a label 2"),
    ],
)
def test_tfrecord_metadata_that_do_not_fit(records, arguments, message):
    (records / "labels.txt").write_text("0: a\n1: b\n2: c\n")
    with pytest.raises(DataError, match=message):
        mox.ImageClassificationTFRecordMetadata(records, **arguments)


@pytest.fixture
def movies(tmp_path):
    folder = tmp_path / "movies"
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for number, names in enumerate(["cat\ndog\n", "dog", "", "bird\ncat"]):
        (folder / "images" / f"{number}.jpg").write_bytes(encode(noise(number)))
        (folder / "labels" / f"{number}.jpg.txt").write_text(names)
    return folder


def test_multilabel_metadata_with_and_without_labels_txt(movies):
    meta = mox.MultilabelClassificationRawMetadata(movies)
    assert meta.labels_to_names == {0: "bird", 1: "cat", 2: "dog"}
    assert (meta.total_num_samples, meta.num_classes) == (4, 3)
    assert meta.source().labels.tolist() == [[0, 1, 1], [0, 0, 1], [0, 0, 0], [1, 1, 0]]
    assert meta.source().read(0)["label_desc"] == "cat,dog"
    (movies / "labels.txt").write_text("0: dog 1: cat 2: bird 3: fish")
    meta = mox.MultilabelClassificationRawMetadata(movies)
    assert meta.names_to_labels == {"dog": 0, "cat": 1, "bird": 2, "fish": 3}
    assert meta.source().labels.tolist()[0] == [1, 1, 0, 0]


def test_multilabel_files_may_separate_labels_otherwise(movies):
    (movies / "labels.txt").write_text("cat\ndog\nbird\n")
    (movies / "labels" / "0.jpg.txt").write_text("cat dog\n")
    meta = mox.MultilabelClassificationRawMetadata(movies)
    with pytest.raises(DataError, match=r"'cat dog', which labels.txt does not.\n.*label_sep"):
        meta.source()
    (movies / "labels" / "3.jpg.txt").write_text("bird")
    meta = mox.MultilabelClassificationRawMetadata(movies)
    assert meta.source(label_sep=" ").labels.tolist()[0] == [1, 1, 0]


def test_images_without_a_file_of_labels_are_skipped_only_when_asked(movies):
    (movies / "labels" / "1.jpg.txt").unlink()
    meta = mox.MultilabelClassificationRawMetadata(movies)
    with pytest.raises(DataError, match=r"1 images have no file of labels: '1.jpg'"):
        meta.source()
    assert len(meta.source(skip_label_not_found=True)) == 3
