"""Data sets in a gluon DataLoader: the same samples as without MXNet."""

from __future__ import annotations

import sys
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

import mox_core
import mox_mxnet as mox
from mox_core.data import SampleError

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from sample_files import encode, noise  # noqa: E402


@pytest.fixture
def meta(tmp_path):
    for number in range(11):
        path = tmp_path / f"class {number % 3}" / f"{number:02d}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode(noise(number)))
    return mox.ImageClassificationRawMetadata(tmp_path)


def test_batches_are_those_of_mox_core(meta):
    options = {"num_epochs": 2, "image_size": 8}
    keys = ["image", "label", "label_desc"]
    loader = mox.ImageClassificationRawDataset(meta, 4, **options).get(keys)
    assert isinstance(loader, mx.gluon.data.DataLoader)
    assert len(loader) == 6
    expected = mox_core.ImageClassificationRawDataset(meta, 4, **options).get(keys)
    for (images, labels, names), theirs in zip(loader, expected, strict=True):
        assert isinstance(images, mx.nd.NDArray)
        assert (images.dtype, labels.dtype) == (np.uint8, np.int64)
        assert np.array_equal(images.asnumpy(), theirs[0])
        assert np.array_equal(labels.asnumpy(), theirs[1])
        assert names == theirs[2].tolist()


def test_single_samples(meta):
    dataset = mox.ImageClassificationRawDataset(meta, num_epochs=1, shuffle=False)
    samples = list(dataset)
    assert [int(label.asscalar()) for _, label in samples] == meta.labels.tolist()
    assert samples[0][0].shape == (12, 16, 3)


def test_bad_images_stop_by_name_or_are_skipped(meta):
    bad = Path(meta.base_dir, meta.files[4])
    bad.write_bytes(b"")
    with pytest.raises(SampleError, match=f"{bad.name} is empty"):
        list(mox.ImageClassificationRawDataset(meta, 4, num_epochs=1))
    skipping = mox.ImageClassificationRawDataset(meta, 4, num_epochs=1, on_error="skip")
    assert sum(len(labels) for _, labels in skipping) == 10


def test_a_native_run_reads_it(meta):
    def input_fn(mode):
        dataset = mox.ImageClassificationRawDataset(meta, 4, num_epochs=30, image_size=8)
        return dataset.get(["image", "label"])

    def model_fn(inputs, mode):
        images, labels = inputs
        net = mox.block("net", lambda: mx.gluon.nn.Dense(3))
        logits = net(images.astype("float32").reshape((0, -1)) / 255)
        loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()(logits, labels).mean()
        return mox.ModelSpec(loss=loss, log_info={"loss": loss})

    result = mox.run(
        input_fn, None, model_fn, lambda: mx.optimizer.Adam(learning_rate=0.02), "TRAIN",
        batch_size=4, auto_batch=False,
    )  # fmt: skip
    assert result.steps == 83
    assert result.metrics["loss"] < 0.6
