"""Data sets as scripts use them."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import numpy as np
import pytest
from sample_files import encode, noise, upload

import mox_core as mox
from mox_core.data import ArraySource, ImageDataset, ParallelReader, Shard, reading_as
from mox_core.data.images import decode_image, resize_nearest
from mox_core.data.source import SampleError
from mox_core.engine import Cluster
from mox_core.errors import DataError
from mox_core.flags import registry
from mox_core.plugins import get_manager
from mox_core.testing import ToyEngine


@pytest.fixture
def meta(flowers):
    return mox.ImageClassificationRawMetadata(flowers)


def raw(meta, *args, **options):
    return mox.ImageClassificationRawDataset(meta, *args, **options)


def names(dataset, count=None):
    found = []
    for number, (some,) in enumerate(dataset.get(["image_name"])):
        found += [some] if isinstance(some, str) else some.tolist()
        if number + 1 == count:
            break
    return found


def threads():
    return {t.name for t in threading.enumerate() if t.name.startswith("mox-")}


def test_samples_one_by_one(meta, flowers):
    samples = list(raw(meta, num_epochs=1, shuffle=False).get(["image", "label", "label_desc"]))
    assert [label for _, label, _ in samples] == meta.labels.tolist()
    assert [name for *_, name in samples] == [meta.labels_list[label] for label in meta.labels]
    first = decode_image((flowers / "daisy" / "0.jpg").read_bytes())
    assert np.array_equal(samples[0][0], first)
    assert first.shape == (12, 16, 3)


def test_the_data_set_itself_gives_image_and_label(meta):
    images, labels = next(iter(raw(meta, 4, shuffle=False, image_size=8)))
    assert (images.shape, images.dtype) == ((4, 8, 8, 3), np.uint8)
    assert (labels.tolist(), labels.dtype) == ([0, 0, 0, 0], np.int64)


@pytest.mark.parametrize(("drop", "sizes"), [(False, [5] * 4 + [4]), (True, [5] * 4)])
def test_batches_go_over_the_end_of_an_epoch(meta, drop, sizes):
    dataset = raw(meta, 5, num_epochs=2, drop_remainder=drop)
    assert [len(labels) for _, labels in dataset] == sizes
    assert len(dataset.get(["label"])) == len(sizes)
    with pytest.raises(TypeError, match="no length without num_epochs"):
        len(raw(meta, 5).get(["label"]))


def test_image_size_takes_the_nearest_pixels(meta, flowers):
    images, _ = next(iter(raw(meta, 1, image_size=(7, 9), shuffle=False)))
    whole = decode_image((flowers / "daisy" / "0.jpg").read_bytes())
    assert np.array_equal(images[0], resize_nearest(whole, (7, 9)))


def test_labels_one_hot(meta):
    _, labels = next(iter(raw(meta, 12, shuffle=False, label_one_hot=True)))
    assert labels.dtype == np.float32
    assert np.array_equal(labels, np.eye(3)[meta.labels])


def test_augmentation_is_the_same_however_it_is_read(meta):
    def augment(image, rng):
        return image[:8, :8].astype(np.float32) + rng.random(dtype=np.float32)

    def batches(**options):
        return list(raw(meta, 4, num_epochs=2, augmentation_fn=augment, **options))

    first = batches()
    assert first[0][0].shape == (4, 8, 8, 3)
    for options in (
        {"private_num_threads": 1},
        {"private_num_threads": 5, "capacity": 3},
        {"reader_class": ParallelReader, "num_readers": 3},
    ):
        for one, other in zip(first, batches(**options), strict=True):
            assert np.array_equal(one[0], other[0])
    # Another epoch and another seed make other numbers of the same image.
    (images,) = {len({x.tobytes() for b, _ in first for x in b})}
    assert images == 24
    assert not np.array_equal(first[0][0], batches(seed=1)[0][0])


def test_augmentation_without_rng(meta):
    images, _ = next(iter(raw(meta, 4, augmentation_fn=lambda image: image[:5, :5])))
    assert images.shape == (4, 5, 5, 3)


def test_opencv_starts_no_threads_of_its_own_while_several_threads_call_it(meta):
    cv2 = pytest.importorskip("cv2")
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)

    def augment(image):
        return np.full((2, 2, 3), cv2.getNumThreads(), np.uint8)

    try:
        one, other = (iter(raw(meta, 4, augmentation_fn=augment)) for _ in range(2))
        assert (next(one)[0] == 1).all() and (next(other)[0] == 1).all()
        one.close()
        assert cv2.getNumThreads() == 1
        other.close()
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)


@pytest.mark.parametrize("batch_size", [None, 4])
def test_preprocess_fn_takes_over_decoding(meta, batch_size):
    shapes = []

    def preprocess(image_name, image_buf, label, label_desc):
        if batch_size is None:
            shapes.append(type(image_buf))
            return image_name, decode_image(image_buf)[:6, :6], label + 10, label_desc
        shapes.append(image_buf.shape)
        images = np.stack([decode_image(buf)[:6, :6] for buf in image_buf])
        return image_name, images, label + 10, label_desc

    dataset = raw(meta, batch_size, num_epochs=1, shuffle=False, preprocess_fn=preprocess)
    got = list(dataset.get(["label", "image", "image_name"]))
    labels = np.concatenate([np.atleast_1d(label) for label, *_ in got])
    assert labels.tolist() == (meta.labels + 10).tolist()
    assert got[0][1].shape == ((6, 6, 3) if batch_size is None else (4, 6, 6, 3))
    assert set(shapes) == ({bytes} if batch_size is None else {(4,)})
    augmented = raw(
        meta, batch_size, preprocess_fn=preprocess, augmentation_fn=lambda image: image[:2]
    )
    assert next(iter(augmented))[0].shape[-3:] == (2, 6, 3)


def test_preprocess_fn_that_returns_something_else(meta):
    with pytest.raises(DataError, match="preprocess_fn has to return 4 values: image_name, image"):
        next(iter(raw(meta, 2, preprocess_fn=lambda *features: features[:2])))


def test_contents_of_files_without_decoding(meta, flowers):
    (flowers / "daisy" / "0.jpg").write_bytes(b"no image")
    (content,) = next(iter(raw(meta, 2, shuffle=False).get("image_buf")))
    assert content[0] == b"no image"


@pytest.mark.parametrize(
    ("world", "options"),
    [
        (1, {}),
        (2, {"num_readers": 1, "capacity": 1}),
        (5, {"private_num_threads": 4}),
        (2, {"reader_class": mox.AsyncRawGenerator, "num_readers": 2}),
    ],
)
def test_every_image_once_per_epoch_per_world(meta, world, options):
    seen = []
    for rank in range(world):
        with reading_as(Shard(rank, world)):
            dataset = raw(meta, 2, num_epochs=1, **options)
        seen += names(dataset)
    assert sorted(seen) == meta.files


def test_a_run_that_goes_on_can_begin_at_a_later_epoch(meta):
    assert names(raw(meta, num_epochs=3))[24:] == names(raw(meta, num_epochs=1, first_epoch=2))


def test_it_can_be_read_again_and_left_early(meta):
    view = raw(meta, 4, num_epochs=None).get(["image_name"])
    first, second = iter(view), iter(view)
    assert next(first)[0].tolist() == next(second)[0].tolist()
    assert threads()
    first.close()
    second.close()
    assert not threads()


def test_images_of_several_sizes_do_not_fit_into_a_batch(meta, flowers):
    (flowers / "daisy" / "1.jpg").write_bytes(encode(noise(1, 20, 20)))
    message = r"images of the sizes \(12, 16, 3\) and \(20, 20, 3\).\n.*image_size"
    with pytest.raises(DataError, match=message):
        next(iter(raw(meta, 4, shuffle=False)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0: give a number above 0, or None"),
        ({"num_epochs": 1.5}, "num_epochs is 1.5"),
        ({"num_readers": 0}, "num_readers is 0: give a number above 0"),
        ({"on_error": "ignore"}, "on_error is 'ignore': use 'stop' or 'skip'"),
        ({"image_size": "big"}, "image_size is 'big'"),
    ],
)
def test_arguments_that_do_not_fit(meta, options, message):
    with pytest.raises(DataError, match=message):
        raw(meta, **options).get(["image"])


def test_a_feature_that_does_not_exist(meta):
    with pytest.raises(DataError, match="no feature 'labels': the data set has image, image_buf,"):
        raw(meta).get(["image", "labels"])


# ---- Samples that cannot be read


def test_a_damaged_image_stops_by_its_name(meta, flowers):
    path = flowers / "rose" / "1.jpg"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(
        SampleError, match=r"rose/1.jpg is .*\n  Remove or mend it, or pass on_error="
    ):
        list(raw(meta, 4, num_epochs=1))
    assert not threads()


def test_damaged_and_vanished_images_are_skipped_and_counted_on_request(meta, flowers, caplog):
    (flowers / "rose" / "1.jpg").write_bytes(b"")
    (flowers / "tulip" / "0.jpg").unlink()
    batches = list(raw(meta, 4, num_epochs=2, on_error="skip"))
    assert [len(labels) for _, labels in batches] == [4] * 5
    text = caplog.text
    assert f"skipped: {flowers}/rose/1.jpg is empty" in text
    assert f"skipped: {flowers}/tulip/0.jpg was in the listing of the folder, but is gone" in text
    assert "4 of 24 samples were skipped." in text


def test_when_no_image_can_be_read_it_ends(meta, flowers):
    for path in flowers.rglob("*.jpg"):
        path.write_bytes(b"x")
    with pytest.raises(DataError, match="no sample can be read; the last one: .*jpg is no image"):
        list(raw(meta, 4, on_error="skip"))


def test_an_error_of_the_users_function_comes_through(meta):
    def fail(image):
        raise ZeroDivisionError("in augment")

    with pytest.raises(ZeroDivisionError, match="in augment"):
        list(raw(meta, 4, augmentation_fn=fail))
    assert not threads()


# ---- TFRecord


def test_tfrecord_data_set(records):
    meta = mox.ImageClassificationTFRecordMetadata(records, "*train*", num_classes=18)
    dataset = mox.ImageClassificationTFRecordDataset(meta=meta, batch_size=5, num_epochs=2)
    labels = np.concatenate([labels for _, labels in dataset])
    assert sorted(labels[:18]) == sorted(labels[18:]) == list(range(18))
    assert labels[:18].tolist() != list(range(18))
    plain = mox.ImageClassificationTFRecordDataset(
        meta, 18, shuffle=False, num_epochs=1, label_one_hot=True
    )
    ((images, one_hot),) = plain
    assert np.array_equal(one_hot, np.eye(18))
    assert np.abs(images[7].astype(int) - noise(7)).mean() < 40


def test_custom_features(records):
    meta = mox.ImageClassificationTFRecordMetadata(records, "*train*")
    dataset = mox.ImageClassificationTFRecordDataset(
        meta, shuffle=False, custom_feature_keys=["image/class/label"]
    )
    assert next(iter(dataset.get(["image/class/label"])))[0].tolist() == [0]
    missing = mox.ImageClassificationTFRecordDataset(meta, custom_feature_keys=["boxes"])
    with pytest.raises(SampleError, match=r"record \d has no feature 'boxes'; its features are"):
        next(iter(missing.get(["boxes"])))


def test_a_damaged_tfrecord_file_is_read_as_far_as_it_goes_on_request(records, caplog):
    path = records / "train_1.tfrecord"
    path.write_bytes(path.read_bytes()[:-10])
    meta = mox.ImageClassificationTFRecordMetadata(records, "*train*")
    with pytest.raises(DataError, match="train_1.tfrecord, record 5 is cut off"):
        mox.ImageClassificationTFRecordDataset(meta)
    dataset = mox.ImageClassificationTFRecordDataset(meta, num_epochs=1, on_error="skip")
    assert sorted(label for _, label in dataset) == [n for n in range(18) if n != 10]
    assert "record 5 is cut off" in caplog.text


# ---- Remote data


@pytest.mark.parametrize("reader", [None, mox.AsyncRawGenerator])
def test_a_bucket_that_answers_503_now_and_then(meta, flowers, store, reader):
    remote = mox.ImageClassificationRawMetadata(upload(store, flowers, "flowers"))
    store.fail("status", method="GET", match="jpg", times=6)
    store.fail("cut", method="GET", match="jpg", times=2, at=50)
    dataset = raw(remote, 4, num_epochs=1, shuffle=False, reader_class=reader, num_readers=2)
    local = list(raw(meta, 4, num_epochs=1, shuffle=False))
    for (images, labels), (wanted, wanted_labels) in zip(dataset, local, strict=True):
        assert np.array_equal(images, wanted)
        assert np.array_equal(labels, wanted_labels)
    assert not [fault for fault in store.faults if fault.times]


def test_a_real_server_gives_the_same_batches(meta, flowers, records, rclone):
    mox.file.copy_parallel(flowers, "s3://bucket/flowers")
    mox.file.copy_parallel(records, "s3://bucket/records")
    remote = raw(mox.ImageClassificationRawMetadata("s3://bucket/flowers"), 5, num_epochs=2)
    for one, other in zip(remote, raw(meta, 5, num_epochs=2), strict=True):
        assert all(map(np.array_equal, one, other))
    folders = (records, "s3://bucket/records")
    metas = [mox.ImageClassificationTFRecordMetadata(folder, "*train*") for folder in folders]
    both = [mox.ImageClassificationTFRecordDataset(one, 5, num_epochs=2) for one in metas]
    for one, other in zip(*both, strict=True):
        assert all(map(np.array_equal, one, other))


def test_a_file_that_vanished_from_the_bucket(flowers, store, caplog):
    remote = mox.ImageClassificationRawMetadata(upload(store, flowers, "flowers"))
    del store.buckets["bucket"]["flowers/rose/0.jpg"]
    with pytest.raises(SampleError, match="s3://bucket/flowers/rose/0.jpg was in the listing"):
        list(raw(remote, num_epochs=1))
    assert len(list(raw(remote, num_epochs=1, on_error="skip"))) == 11


@pytest.mark.parametrize("kind", ["files", "records"])
def test_later_epochs_come_from_the_cache(kind, flowers, records, store, tmp_path, monkeypatch):
    monkeypatch.setenv("DLS_LOCAL_CACHE_PATH", str(tmp_path / "cache"))
    if kind == "files":
        meta = mox.ImageClassificationRawMetadata(upload(store, flowers, "flowers"))
        dataset = raw(meta, 4, num_epochs=3, cache_dir="ENV", remove_cache_on_finish=False)
        requests, samples = 12, 36
    else:
        meta = mox.ImageClassificationTFRecordMetadata(upload(store, records, "r"), "*train*")
        dataset = mox.ImageClassificationTFRecordDataset(
            meta, 4, num_epochs=3, cache_dir="ENV", remove_cache_on_finish=False
        )
        requests, samples = 3, 54
    store.requests.clear()
    assert sum(len(labels) for _, labels in dataset) == samples
    assert len(store.requests) == requests


def test_a_reader_process_that_dies_is_told_of(flowers, store, monkeypatch):
    from mox_core.data import worker

    meta = mox.ImageClassificationRawMetadata(upload(store, flowers, "flowers"))
    dataset = raw(meta, 2, reader_class=mox.AsyncRawGenerator, num_readers=1, capacity=2)
    started = []
    start = worker.Worker.__init__

    def remember(self, data):
        start(self, data)
        started.append(self)

    monkeypatch.setattr(worker.Worker, "__init__", remember)
    batches = iter(dataset)
    next(batches)
    started[0]._process.kill()
    with pytest.raises(DataError, match=r"process that reads the data ended \(exit code -9\)"):
        for _ in batches:
            pass


def test_reader_threads_overlap_their_waiting(monkeypatch):
    """Sixteen reads that wait for one another: fewer threads than that would never end."""
    barrier = threading.Barrier(16, timeout=20)

    class Waiting(ArraySource):
        waits = True

        def read(self, index):
            barrier.wait()
            return super().read(index)

    source = Waiting(np.zeros((32, 2, 2, 3), np.uint8), np.arange(32), {}, where="here")
    dataset = ImageDataset(source, 4, num_readers=16, num_epochs=1, capacity=16)
    assert sum(len(labels) for _, labels in dataset) == 32


# ---- In a run


@contextmanager
def engine(make):
    """Lets an engine have the name toy."""

    class Plugin:
        @staticmethod
        @mox.hookimpl
        def mox_engine(name):
            return make()

    get_manager().register(Plugin, "toy", kind="engine")
    try:
        yield
    finally:
        get_manager().unregister("toy", kind="engine")
        registry().reset()


def test_a_neutral_run_trains_and_evaluates(meta, tmp_path):
    nn = mox.nn

    def input_fn(mode):
        training = mode == mox.ModeKeys.TRAIN
        dataset = raw(meta, image_size=8, num_epochs=40 if training else 1, shuffle=training)
        return dataset.get(["image", "label"])

    def model_fn(inputs, mode):
        images, labels = inputs
        x = nn.flatten(nn.cast(images, "float32") / 255.0)
        logits = nn.fully_connected(x, meta.num_classes, activation_fn=None)
        loss = nn.sparse_softmax_cross_entropy(logits, labels)
        return mox.ModelSpec(loss=loss, log_info={"accuracy": nn.accuracy(logits, labels)})

    common = {"batch_size": 4, "log_dir": str(tmp_path / "log"), "engine": "toy"}
    with engine(ToyEngine):
        optimizer = mox.get_optimizer_fn("momentum", learning_rate=0.05)
        trained = mox.run(input_fn, None, model_fn, optimizer, "TRAIN", **common)
        result = mox.run(input_fn, None, model_fn, None, "EVAL", **common)
    assert trained.steps == 120
    assert result.metrics["accuracy"] == 1.0


def test_towers_read_different_images(meta):
    seen = []

    def input_fn(mode):
        dataset = raw(meta, 2, num_epochs=1, image_size=4)
        for images, labels, names in dataset.get(["image", "label", "image_name"]):
            seen.extend(names)
            yield images, labels

    def model_fn(inputs, mode):
        images, labels = inputs
        x = mox.nn.flatten(mox.nn.cast(images, "float32") / 255.0)
        logits = mox.nn.fully_connected(x, 3, activation_fn=None)
        loss = mox.nn.sparse_softmax_cross_entropy(logits, labels)
        return mox.ModelSpec(loss=loss, log_info={"loss": loss})

    optimizer = mox.get_optimizer_fn("sgd", learning_rate=0.01)
    mox.set_flag("num_gpus", 2)
    with engine(ToyEngine):
        options = {"engine": "toy", "auto_batch": False}
        result = mox.run(input_fn, None, model_fn, optimizer, "TRAIN", **options)
    assert result.steps == 3
    assert sorted(seen) == meta.files


class OneOfTwo(ToyEngine):
    """Says that it is the first of two processes that train together."""

    def setup(self, config):
        super().setup(config)
        return Cluster(0, 2)


@pytest.mark.parametrize("kind", ["generator", "function", "view"])
def test_each_process_of_a_run_trains_on_its_part_and_evaluates_everything(meta, kind):
    seen = {"TRAIN": [], "EVAL": []}

    def batches(mode):
        dataset = raw(meta, 1, num_epochs=2, image_size=4)
        for images, labels, names in dataset.get(["image", "label", "image_name"]):
            seen[str(mode)] += names.tolist()
            yield images, labels

    def input_fn(mode):
        if kind == "view":
            one_by_one = {"private_num_threads": 1, "augmentation_fn": note(mode)}
            return raw(meta, 1, num_epochs=2, image_size=4, **one_by_one)
        return batches(mode) if kind == "generator" else lambda: batches(mode)

    def note(mode):
        def augment(image):
            seen[str(mode)].append(image.tobytes())
            return image

        return augment

    def model_fn(inputs, mode):
        images, labels = inputs
        x = mox.nn.flatten(mox.nn.cast(images, "float32") / 255.0)
        logits = mox.nn.fully_connected(x, 3, activation_fn=None)
        loss = mox.nn.sparse_softmax_cross_entropy(logits, labels)
        hook = mox.LogEvaluationMetricHook({"loss": loss}, 1, 6, samples_in_eval=12)
        return mox.ModelSpec(loss=loss, log_info={"loss": loss}, hooks=[hook])

    with engine(OneOfTwo):
        optimizer = mox.get_optimizer_fn("sgd", learning_rate=0.01)
        options = {"engine": "toy", "auto_batch": False, "inter_mode": "EVAL"}
        mox.run(input_fn, None, model_fn, optimizer, "TRAIN", **options)
    assert len(seen["TRAIN"]) == 12
    assert len(set(seen["TRAIN"][:6])) == len(set(seen["TRAIN"][6:])) == 6
    assert len(set(seen["EVAL"])) == 12
