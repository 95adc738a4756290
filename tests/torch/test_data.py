"""Data sets in a DataLoader: the same samples as without PyTorch, whoever reads them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import mox_core
import mox_torch as mox
from mox_core.data import SampleError, Shard, reading_as
from mox_core.data.example import format_example
from mox_core.data.tfrecord import TFRecordWriter
from mox_core.errors import DataError

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from sample_files import encode, kinds_of_image_files, noise  # noqa: E402

PROCESSES = {"loader_options": {"num_workers": 2}}
THREADS = {"loader_options": {"num_workers": 0}}


@pytest.fixture
def folder(tmp_path):
    for number in range(11):
        path = tmp_path / f"class {number % 3}" / f"{number:02d}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode(noise(number)))
    return tmp_path


@pytest.fixture
def meta(folder):
    return mox.ImageClassificationRawMetadata(folder)


def crop(image, rng):
    return image[:8, :8].astype(np.float32) + rng.random(dtype=np.float32)


@pytest.mark.parametrize("how", [THREADS, PROCESSES, {}], ids=["threads", "processes", "default"])
def test_batches_are_those_of_mox_core(meta, how):
    options = {"num_epochs": 2, "augmentation_fn": crop, "label_one_hot": True}
    keys = ["image", "label", "label_desc"]
    loader = mox.ImageClassificationRawDataset(meta, 4, **options, **how).get(keys)
    assert isinstance(loader, torch.utils.data.DataLoader)
    assert len(loader) == 6
    expected = mox_core.ImageClassificationRawDataset(meta, 4, **options).get(keys)
    for (images, labels, names), theirs in zip(loader, expected, strict=True):
        assert np.array_equal(images, theirs[0])
        assert np.array_equal(labels, theirs[1])
        assert names == theirs[2].tolist()
        assert (images.dtype, labels.dtype) == (torch.float32, torch.float32)


@pytest.mark.parametrize("how", [THREADS, PROCESSES], ids=["threads", "processes"])
def test_single_samples(meta, how):
    dataset = mox.ImageClassificationRawDataset(meta, num_epochs=1, shuffle=False, **how)
    samples = list(dataset)
    assert [int(label) for _, label in samples] == meta.labels.tolist()
    assert (samples[0][0].dtype, tuple(samples[0][0].shape)) == (torch.uint8, (12, 16, 3))
    assert samples[0][1].dtype == torch.int64


def test_all_kinds_of_image_files_become_rgb(tmp_path):
    from mox_core.data.images import decode_image

    (tmp_path / "a").mkdir()
    files = kinds_of_image_files()
    for name, content in files.items():
        (tmp_path / "a" / f"{name}.jpg").write_bytes(content)  # the content counts
    meta = mox.ImageClassificationRawMetadata(tmp_path)
    loader = mox.ImageClassificationRawDataset(meta, num_epochs=1).get(["image", "image_name"])
    images = {Path(name).stem: image for image, name in loader}
    assert images.keys() == files.keys()
    for name, image in images.items():
        assert tuple(image.shape) == (24, 32, 3), name
        assert np.array_equal(image, decode_image(files[name])), name


def test_every_image_once_per_epoch_per_world(meta):
    seen = []
    for rank in range(2):
        with reading_as(Shard(rank, 2)):
            dataset = mox.ImageClassificationRawDataset(meta, 2, num_epochs=1, **PROCESSES)
            for (names,) in dataset.get(["image_name"]):
                seen += names
    assert sorted(seen) == sorted(meta.files)


@pytest.mark.parametrize("how", [THREADS, PROCESSES], ids=["threads", "processes"])
def test_bad_images_stop_by_name_or_are_skipped_and_counted(meta, folder, how, caplog):
    bad = folder / meta.files[4]
    bad.write_bytes(bad.read_bytes()[:60])
    with pytest.raises(SampleError, match=rf"{bad.name} is .*\n  Remove or mend it"):
        list(mox.ImageClassificationRawDataset(meta, 4, num_epochs=1, **how))
    skipping = mox.ImageClassificationRawDataset(meta, 4, num_epochs=1, on_error="skip", **how)
    assert sum(len(labels) for _, labels in skipping) == 10
    assert f"skipped: {bad}" in caplog.text
    assert "1 of 11 samples were skipped." in caplog.text
    for name in meta.files:
        (folder / name).write_bytes(b"x")
    endless = mox.ImageClassificationRawDataset(meta, 4, on_error="skip", **how)
    with pytest.raises(DataError, match="no sample can be read"):
        list(endless)


def test_preprocess_fn_and_reader_class(meta):
    from mox_core.data.images import decode_image

    def preprocess(image_name, image_buf, label, label_desc):
        return image_name, np.stack([decode_image(buf)[:4] for buf in image_buf]), label, label_desc

    dataset = mox.ImageClassificationRawDataset(
        meta, 4, num_epochs=1, preprocess_fn=preprocess, reader_class=mox.AsyncRawGenerator,
        num_readers=1, **PROCESSES,
    )  # fmt: skip
    assert [tuple(images.shape) for images, _ in dataset] == [(4, 4, 16, 3)] * 2 + [(3, 4, 16, 3)]


@pytest.mark.parametrize("how", [THREADS, PROCESSES], ids=["threads", "processes"])
def test_tfrecords_and_named_sets(tmp_path, how):
    with TFRecordWriter(tmp_path / "flowers_train_0.tfrecord") as writer:
        for label in range(5):
            image = encode(noise(label))
            features = {"image/encoded": image, "image/class/label": label}
            writer.write(format_example(features))
    dataset = mox.get_dataset("flowers", "train", tmp_path, 2, num_epochs=1, **how)
    assert sorted(torch.cat([labels for _, labels in dataset]).tolist()) == list(range(5))
    meta = mox.ImageClassificationTFRecordMetadata(tmp_path, "*")
    records = mox.ImageClassificationTFRecordDataset(meta, 5, num_epochs=1, **how)
    assert sorted(next(iter(records))[1].tolist()) == list(range(5))


def test_options_that_the_data_set_decides(meta):
    with pytest.raises(DataError, match="loader_options cannot have shuffle"):
        mox.ImageClassificationRawDataset(meta, loader_options={"shuffle": True})


def test_a_native_run_reads_it(meta):
    def input_fn(mode):
        dataset = mox.ImageClassificationRawDataset(
            meta, 4, num_epochs=30, image_size=8, **PROCESSES
        )
        return dataset.get(["image", "label"])

    def model_fn(inputs, mode):
        images, labels = inputs
        weights = mox.get_variable("weights", (192, meta.num_classes))
        loss = torch.nn.functional.cross_entropy(images.flatten(1) / 255 @ weights, labels)
        return mox.ModelSpec(loss=loss, log_info={"loss": loss})

    result = mox.run(
        input_fn, None, model_fn, lambda: torch.optim.Adam(mox.parameters(), 0.02), "TRAIN",
        batch_size=4, auto_batch=False,
    )  # fmt: skip
    assert result.steps == 83
    assert result.metrics["loss"] < 0.5


SCRIPT = """
import json
import os
import sys
from pathlib import Path
import torch
import mox_torch as mox

mox.set_flag("silent", True)
mox.dist.init_process_group()
meta = mox.ImageClassificationRawMetadata(sys.argv[1])
outside = mox.ImageClassificationRawDataset(meta, 2, num_epochs=1)
seen = {"outside": [name for (names,) in outside.get(["image_name"]) for name in names]}


def input_fn(mode):
    dataset = mox.ImageClassificationRawDataset(meta, 1, num_epochs=1, image_size=4)
    for images, labels, names in dataset.get(["image", "label", "image_name"]):
        seen.setdefault(str(mode), []).extend(names)
        yield images, labels


def model_fn(inputs, mode):
    images, labels = inputs
    logits = images.flatten(1) / 255 @ mox.get_variable("weights", (48, 3))
    return mox.ModelSpec(loss=torch.nn.functional.cross_entropy(logits, labels))


sgd = lambda: torch.optim.SGD(mox.parameters(), 0.1)
mox.run(input_fn, None, model_fn, sgd, "TRAIN", auto_batch=False)
Path(f"seen_{os.environ['RANK']}.json").write_text(json.dumps(seen))
"""


def test_processes_of_torchrun_read_parts_inside_and_outside_of_input_fn(meta, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, str(tmp_path / "script.py"), meta.base_dir],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    one, other = (json.loads((tmp_path / f"seen_{rank}.json").read_text()) for rank in range(2))
    assert sorted(one["outside"] + other["outside"]) == sorted(meta.files)
    read = one["TRAIN"] + other["TRAIN"]
    assert len(read) == len(set(read)) >= 10  # the run ends with the process that has fewer
