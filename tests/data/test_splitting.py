"""One folder of images becomes several."""

from __future__ import annotations

import pytest
from sample_files import encode, noise, upload

import mox_core as mox
from mox_core.data import split_image_classification_dataset as split
from mox_core.errors import DataError
from mox_core.storage.errors import MoxFileRespException


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for name, count in (("daisy", 20), ("rose", 10), ("tulip", 1)):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            content = encode(noise(number)) + name.encode() + bytes([number])
            (folder / name / f"{number}.jpg").write_bytes(content)
    return folder


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.jpg")}


def test_every_image_is_in_one_part_and_classes_keep_their_proportion(photos, tmp_path):
    before = contents(photos)
    spec = {"train": 0.8, "eval": 0.2}
    counts = split(split_spec=spec, src_dir=photos, dst_dir=tmp_path / "parts")
    train, evaluation = (contents(tmp_path / "parts" / name) for name in ("train", "eval"))
    assert counts == {"train": len(train), "eval": len(evaluation)} == {"train": 25, "eval": 6}
    assert train | evaluation == before == contents(photos)
    assert not set(train) & set(evaluation)
    assert sum(name.startswith("rose") for name in evaluation) == 2
    # Labels mean the same in a part that lacks a class.
    meta = mox.ImageClassificationRawMetadata(tmp_path / "parts" / "train")
    assert meta.labels_list == ["daisy", "rose", "tulip"]


def test_the_same_images_and_seed_give_the_same_parts(photos, tmp_path):
    spec = {"a": 0.5, "b": 0.25}
    for name, seed in (("first", 1), ("second", 1), ("third", 2)):
        split(spec, photos, tmp_path / name, seed=seed)
    first, second, third = (contents(tmp_path / n) for n in ("first", "second", "third"))
    assert first == second
    assert set(first) != set(third)
    assert len(first) == 15 + 8 + 1


def test_a_part_that_exists_is_replaced_only_on_request(photos, tmp_path):
    target = tmp_path / "parts"
    (target / "eval" / "daisy").mkdir(parents=True)
    (target / "eval" / "daisy" / "old.jpg").write_text("old")
    with pytest.raises(DataError, match=r"parts/eval exists already.\n.*overwrite=True"):
        split({"train": 0.9, "eval": 0.1}, photos, target)
    assert not (target / "train").exists()
    split({"train": 0.9, "eval": 0.1}, photos, target, overwrite=True)
    assert "daisy/old.jpg" not in contents(target / "eval")


def test_between_buckets_and_when_copying_fails_nothing_is_left(photos, store, tmp_path):
    url = upload(store, photos, "photos")
    split({"train": 0.5, "eval": 0.5}, url, "s3://bucket/parts")
    objects = store.buckets["bucket"]
    assert len([key for key in objects if key.startswith("parts/") and "jpg" in key]) == 31
    store.fail("status", status=403, code="AccessDenied", match="photos/rose/3.jpg", times=-1)
    with pytest.raises(MoxFileRespException, match="rose/3.jpg"):
        split({"train": 0.5, "eval": 0.5}, url, tmp_path / "local")
    assert not any((tmp_path / "local").rglob("*.jpg"))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "split_spec is {}: give a dict"),
        ({"train": 0.8, "eval": 0.3}, "the shares make 1.1, more than 1"),
        ({"train": 80}, "the share of 'train' is 80, not from 0 to 1"),
        ({"../train": 0.5}, "'../train' cannot be the name of a folder"),
        ({".": 0.5}, "'.' cannot be the name of a folder"),
    ],
)
def test_a_spec_that_does_not_fit(photos, tmp_path, spec, message):
    with pytest.raises(DataError, match=message):
        split(spec, photos, tmp_path / "parts")
