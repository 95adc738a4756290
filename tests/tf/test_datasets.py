"""Data sets as graph tensors."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import mox_core
import mox_tf as mox
from mox_core.data import ParallelReader, Shard, reading_as
from mox_core.data.example import format_example
from mox_core.data.images import decode_image, resize_nearest
from mox_core.data.tfrecord import TFRecordWriter
from mox_core.engine import Fetch
from mox_core.errors import DataError
from mox_tf.datasets.raw.raw_dataset import AsyncRawGenerator
from mox_tf.datasets.tfrecord_common import (
    BaseTFRecordDataset,
    BaseTFRecordMetadata,
    ImageClassificationTFRecordMetadata,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from sample_files import kinds_of_image_files  # noqa: E402

cv2 = pytest.importorskip("cv2")


def encode(seed, extension=".jpg", height=24, width=32):
    small = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    image = small.repeat(4, axis=0).repeat(4, axis=1)
    return cv2.imencode(extension, image)[1].tobytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three classes with 5, 3 and 4 images."""
    folder = tmp_path_factory.mktemp("flowers")
    seed = 0
    for name, count in (("tulip", 4), ("daisy", 5), ("rose", 3)):
        (folder / name).mkdir()
        for number in range(count):
            (folder / name / f"{number}.jpg").write_bytes(encode(seed))
            seed += 1
    return folder


@pytest.fixture(scope="module")
def meta(folder):
    return mox.ImageClassificationRawMetadata(base_dir=str(folder))


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Three files of 5, 6 and 7 records."""
    folder = tmp_path_factory.mktemp("records")
    label = 0
    for number in range(3):
        with TFRecordWriter(folder / f"train_{number}.tfrecord") as writer:
            for _ in range(5 + number):
                features = {
                    "image/encoded": encode(label),
                    "image/class/label": label,
                    "angle": [label / 2, 1.0],
                }
                writer.write(format_example(features))
                label += 1
    return folder


def read(make, most=1000):
    """All that tensors give: `make` is called in a new graph and returns them."""
    config = tf.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True  # it takes half the time
    with tf.Graph().as_default(), tf.Session(config=config) as session:
        tensors = make()
        rows = []
        try:
            while len(rows) < most:
                rows.append(session.run(tensors))
        except tf.errors.OutOfRangeError:
            pass
    return rows


def raw(meta, keys, **options):
    return read(lambda: mox.ImageClassificationRawDataset(meta, **options).get(keys))


def names_of(rows):
    return [name.decode() for (name,) in rows]


# ---- Folders


def test_samples_with_all_their_features(meta, folder):
    rows = raw(
        meta,
        ["image", "label", "label_desc", "image_name", "image_buf"],
        num_epochs=1,
        shuffle=False,
    )
    assert [row[1] for row in rows] == [0] * 5 + [1] * 3 + [2] * 4
    assert [row[2].decode() for row in rows] == ["daisy"] * 5 + ["rose"] * 3 + ["tulip"] * 4
    assert [row[3].decode() for row in rows] == meta.files
    for image, _, _, name, content in rows:
        assert content == (folder / name.decode()).read_bytes()
        assert (image == decode_image(content)).all()


def test_all_kinds_of_image_files_become_the_same_rgb_as_elsewhere(tmp_path):
    files = kinds_of_image_files()
    del files["tiff"], files["animated webp"]  # the latter by recent versions of TensorFlow only
    (tmp_path / "a").mkdir()
    for name, content in files.items():
        (tmp_path / "a" / f"{name}.jpg").write_bytes(content)  # the content counts
    rows = raw(mox.ImageClassificationRawMetadata(str(tmp_path)), ["image", "image_name"],
               num_epochs=1)  # fmt: skip
    images = {Path(name.decode()).stem: image for image, name in rows}
    assert images.keys() == files.keys()
    for name, image in images.items():
        away = np.abs(image.astype(int) - decode_image(files[name])).max()
        assert away <= (name in ("cmyk", "16 bits")), name


@pytest.mark.parametrize("decoder", ["opencv", "tensorflow"])
def test_batches_resized_to_the_nearest_pixel_with_one_hot_labels(
    meta, folder, decoder, monkeypatch
):
    if decoder == "tensorflow":
        monkeypatch.setattr("mox_tf.datasets.image_tensors.has_opencv", lambda: False)
    rows = raw(
        meta,
        ["image", "label"],
        num_epochs=1,
        shuffle=False,
        batch_size=5,
        image_size=[10, 7],
        label_one_hot=True,
    )
    assert [images.shape for images, _ in rows] == [(5, 10, 7, 3), (5, 10, 7, 3), (2, 10, 7, 3)]
    assert rows[0][0].dtype == np.uint8
    first = decode_image((folder / meta.files[0]).read_bytes())
    assert (rows[0][0][0] == resize_nearest(first, (10, 7))).all()
    assert rows[1][1].tolist() == [[0, 1, 0]] * 3 + [[0, 0, 1]] * 2


def test_a_remainder_can_be_dropped_and_shapes_are_known(meta):
    options = {"num_epochs": 1, "batch_size": 5, "image_size": 8, "drop_remainder": True}
    assert len(raw(meta, ["label"], **options)) == len(raw(meta, ["image"], **options)) == 2
    assert [len(names) for _, names in raw(meta, ["image", "image_name"], **options)] == [5, 5]
    with tf.Graph().as_default():
        images, labels = mox.ImageClassificationRawDataset(meta, **options).get(["image", "label"])
        assert (images.shape.as_list(), labels.shape.as_list()) == ([5, 8, 8, 3], [5])


def test_a_batch_may_be_larger_than_what_is_read_ahead(meta):
    rows = raw(meta, ["label"], num_epochs=300, batch_size=3000)
    assert [len(labels) for (labels,) in rows] == [3000, 600]


READERS = {
    "tensorflow": {},
    "one thread": {"num_readers": 1, "preprocess_threads": 1, "private_num_threads": 1},
    "threads": {"reader_class": ParallelReader, "num_readers": 3, "capacity": 5},
    "processes": {"reader_class": AsyncRawGenerator, "num_readers": 2},
    "resized": {"image_size": 8},
}


@pytest.mark.parametrize(
    ("reader", "world"),
    [("tensorflow", 5), ("threads", 3), ("one thread", 1), ("processes", 1), ("resized", 3)],
)
def test_every_image_is_seen_once_per_epoch_however_it_is_read(meta, reader, world):
    seen = []
    for rank in range(world):
        with reading_as(Shard(rank, world)):
            rows = raw(meta, ["image_name", "image"], num_epochs=2, **READERS[reader])
        seen.append([name.decode() for name, _ in rows])
    per_epoch = [len(part) // 2 for part in seen]
    for epoch in range(2):
        ours = [
            name
            for part, size in zip(seen, per_epoch, strict=True)
            for name in part[epoch * size :][:size]
        ]
        assert sorted(ours) == sorted(meta.files)


def test_all_readers_and_engines_give_the_same_order(meta):
    options = {"num_epochs": 2, "seed": 4}
    neutral = mox_core.ImageClassificationRawDataset(meta, **options)
    wanted = [name for (name,) in neutral.get(["image_name"])]
    for reader in ("tensorflow", "processes"):
        assert names_of(raw(meta, ["image_name"], **options, **READERS[reader])) == wanted
    assert names_of(raw(meta, ["image_name"], num_epochs=2, seed=5)) != wanted
    assert wanted[:12] != wanted[12:]


def test_iterators_of_one_data_set_do_not_disturb_each_other(meta):
    dataset = mox.ImageClassificationRawDataset(meta, shuffle=False, image_size=8)
    with tf.Graph().as_default(), tf.Session() as session:
        for keys in (["image_name"], ["image_name", "image"]):
            pipeline = dataset.dataset(keys)
            again = tf.data.make_initializable_iterator(pipeline)
            other = tf.data.make_one_shot_iterator(pipeline).get_next()["image_name"]
            name = again.get_next()["image_name"]
            session.run(again.initializer)
            seen = [session.run(one) for one in (name, other, name, name, other)]
            session.run(again.initializer)
            seen.append(session.run(name))
            assert seen == [meta.files[place].encode() for place in (0, 0, 1, 2, 1, 0)]


def test_epochs_go_on_without_end_and_begin_where_they_are_told_to(meta):
    dataset = mox.ImageClassificationRawDataset(meta)
    assert len(read(lambda: dataset.get(["label"]), most=50)) == 50
    later = names_of(raw(meta, ["image_name"], num_epochs=1, first_epoch=1))
    assert later == names_of(raw(meta, ["image_name"], num_epochs=2))[12:]


@pytest.mark.parametrize("batch_size", [None, 5])
def test_preprocess_fn_takes_over_decoding(meta, batch_size):
    def decode(content):
        image = tf.image.decode_image(content, channels=3)
        image.set_shape([None, None, 3])
        return tf.image.resize_images(image, [6, 6])

    def preprocess_fn(image_name, image_buf, label, label_desc):
        if batch_size is None:
            image = decode(image_buf)
        else:
            image = tf.map_fn(decode, image_buf, dtype=tf.float32, back_prop=False)
        return image_name, image, label + 10, label_desc

    rows = raw(
        meta,
        ["image", "label", "image_name"],
        num_epochs=1,
        shuffle=False,
        batch_size=batch_size,
        preprocess_fn=preprocess_fn,
        augmentation_fn=lambda image: image / 255,
    )
    images = np.concatenate([np.reshape(image, [-1, 6, 6, 3]) for image, _, _ in rows])
    assert images.shape == (12, 6, 6, 3) and images.max() <= 1
    labels = np.concatenate([np.reshape(label, [-1]) for _, label, _ in rows])
    assert labels.tolist() == [10] * 5 + [11] * 3 + [12] * 4


def test_augmentation_comes_after_resizing_and_repeats_by_its_seed(meta):
    augment = mox.get_data_augmentation_fn("inception_v3", "TRAIN", 8, 8)
    options = {"num_epochs": 2, "batch_size": 12, "augmentation_fn": augment, "shuffle": False}
    (first, second), (again, _) = [
        [images for (images,) in raw(meta, ["image"], **options)] for _ in range(2)
    ]
    assert first.shape == (12, 8, 8, 3) and first.dtype == np.float32
    assert (first == again).all()
    assert not (first == second).all()
    other = raw(meta, ["image"], **options, seed=1)[0][0]
    assert not (first == other).all()


def test_a_function_of_the_users_and_one_of_mox_core_augment_too(meta):
    options = {"num_epochs": 1, "shuffle": False, "batch_size": 12, "image_size": 8}
    plain = raw(meta, ["image"], **options)[0][0]
    mine = raw(meta, ["image"], **options, augmentation_fn=lambda image: 255 - image)[0][0]
    assert (mine == 255 - plain).all()
    neutral = mox_core.get_data_augmentation_fn("lenet", "EVAL", 8, 8)
    lenet = raw(meta, ["image"], **options, augmentation_fn=neutral)[0][0]
    np.testing.assert_allclose(lenet, (plain - 128.0) / 128, atol=1e-6)


def test_two_calls_of_get_go_in_step(meta):
    def make():
        dataset = mox.ImageClassificationRawDataset(meta, num_epochs=1)
        return [*dataset.get(["image_name"]), *dataset.get(["label_desc"])]

    rows = read(make)
    assert len(rows) == 12
    assert all(name.decode().startswith(desc.decode() + "/") for name, desc in rows)


def test_a_run_trains_on_a_data_set(meta, tmp_path):
    labels = []

    def input_fn(mode):
        dataset = mox.ImageClassificationRawDataset(meta, num_epochs=2, image_size=8)
        return dataset.get(["image", "label"])

    def model_fn(inputs, mode):
        images, batch = inputs
        labels.append(images.shape.as_list())
        x = tf.reshape(tf.cast(images, tf.float32) / 255, [-1, 192])
        weights = tf.get_variable("w", [192, 3])
        loss = tf.losses.sparse_softmax_cross_entropy(batch, tf.matmul(x, weights))
        return mox.ModelSpec(loss=loss, log_info={"loss": loss})

    result = mox.run(
        input_fn=input_fn,
        model_fn=model_fn,
        optimizer_fn=mox.get_optimizer_fn("sgd", 0.1),
        run_mode=mox.ModeKeys.TRAIN,
        batch_size=4,
        log_dir=None,
        max_number_of_steps=100,
    )
    assert result.global_step == 6
    assert labels == [[4, 8, 8, 3]]


@pytest.mark.parametrize("variable_update", ["parameter_server", "replicated"])
def test_two_towers_share_the_images_out(bench, tmp_path, variable_update):
    """16 images of one brightness each; a step takes 4 for each of the towers."""
    for number in range(16):
        image = np.full((8, 8, 3), 10 * number, np.uint8)
        (tmp_path / f"{number % 2}").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / f"{number % 2}" / f"{number}.png"), image)
    meta = mox.ImageClassificationRawMetadata(str(tmp_path))

    def input_fn(mode):
        dataset = mox.ImageClassificationRawDataset(meta, num_epochs=15, image_size=8)
        return dataset.get(["image", "label"])

    def model_fn(inputs, mode):
        images, labels = inputs
        brightness = images[:, 0, 0, 0]
        x = tf.one_hot(tf.cast(brightness, tf.int32) // 10, 16)
        weights = tf.get_variable("w", [16, 2], initializer=tf.zeros_initializer())
        loss = tf.losses.sparse_softmax_cross_entropy(labels, tf.matmul(x, weights))
        return mox.ModelSpec(
            loss=loss, log_info={"loss": loss}, output_info={"brightness": brightness}
        )

    program = bench.train(
        input_fn,
        model_fn,
        mox.get_optimizer_fn("momentum", 2.0),
        towers=2,
        batch_size=4,
        auto_batch=True,
        flags={"variable_update": variable_update},
    )
    steps = bench.run_to_end(program, Fetch(values=True, outputs=True))
    assert [len(step.outputs) for step in steps] == [2] * 30
    for first, second in zip(steps[::2], steps[1::2], strict=True):  # an epoch
        seen = [o["brightness"] for step in (first, second) for o in step.outputs]
        assert sorted(np.concatenate(seen)) == list(range(0, 160, 10))
    assert steps[0].values[0]["loss"] == pytest.approx(np.log(2), rel=1e-5)
    assert max(tower["loss"] for tower in steps[-1].values) < 0.1


# ---- Several labels


@pytest.fixture
def multilabel(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for number, labels in enumerate(["red\ngreen", "blue", "green\nblue\nred"]):
        (tmp_path / "images" / f"{number}.jpg").write_bytes(encode(number))
        (tmp_path / "labels" / f"{number}.jpg.txt").write_text(labels)
    return tmp_path


def test_images_with_several_labels(multilabel):
    (multilabel / "images" / "9.jpg").write_bytes(encode(9))
    meta = mox.MultilabelClassificationRawMetadata(str(multilabel))

    def make(**options):
        dataset = mox.MultilabelClassificationRawDataset(
            meta, num_epochs=1, shuffle=False, image_size=8, batch_size=2, **options
        )
        return dataset.get(["image", "label", "label_desc"])

    rows = read(lambda: make(skip_label_not_found=True))
    assert [labels.tolist() for _, labels, _ in rows] == [[[0, 1, 1], [1, 0, 0]], [[1, 1, 1]]]
    assert rows[0][2].tolist() == [b"green,red", b"blue"]
    assert rows[0][0].shape == (2, 8, 8, 3)
    with pytest.raises(DataError, match="1 images have no file of labels: '9.jpg'"):
        make()


# ---- TFRecord files


def tfrecord(records, keys, **options):
    meta = ImageClassificationTFRecordMetadata(
        base_dir=str(records), file_pattern="train_*.tfrecord", num_classes=18
    )
    return read(lambda: mox.ImageClassificationTFRecordDataset(meta=meta, **options).get(keys))


def test_images_and_labels_of_tfrecords(records):
    rows = tfrecord(records, ["image", "label", "angle"], num_epochs=1, shuffle=False,
                    custom_feature_keys=["angle"])  # fmt: skip
    assert [label for _, label, _ in rows] == list(range(18))
    assert [angle.tolist() for *_, angle in rows] == [[n / 2, 1] for n in range(18)]
    assert all((image == decode_image(encode(n))).all() for n, (image, *_) in enumerate(rows))


def test_every_record_is_seen_once_per_epoch(records):
    seen = []
    for rank in range(3):
        with reading_as(Shard(rank, 3)):
            rows = tfrecord(records, ["label"], num_epochs=1, num_parallel=3)
            seen += [int(label) for (label,) in rows]
    assert sorted(seen) == list(range(18))
    assert seen != list(range(18))


def test_tfrecords_in_batches_with_custom_types_and_a_preprocess_fn(records):
    def preprocess_fn(image, label, label_desc, angle):
        image = tf.map_fn(
            lambda one: tf.image.resize_images(tf.io.decode_jpeg(one), [4, 4]), image, tf.float32
        )
        return image, label * 2, label_desc, angle[:, 0]

    rows = tfrecord(
        records,
        ["image", "label", "angle"],
        num_epochs=1,
        shuffle=False,
        batch_size=9,
        custom_feature_keys=["angle"],
        custom_feature_values=[tf.FixedLenFeature([2], tf.float32)],
        preprocess_fn=preprocess_fn,
    )
    assert [images.shape for images, *_ in rows] == [(9, 4, 4, 3)] * 2
    assert rows[0][1].tolist() == list(range(0, 18, 2))
    assert rows[0][2].tolist() == [n / 2 for n in range(9)]


def test_raw_pixels_in_tfrecords(tmp_path):
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8)
    with TFRecordWriter(tmp_path / "a.tfrecord") as writer:
        features = {"image/encoded": pixels.tobytes(), "image/format": "raw"}
        features |= {"image/height": 2, "image/width": 3, "image/class/label": 1}
        writer.write(format_example(features))
    (tmp_path / "labels.txt").write_text("0: cat\n1: dog\n")
    meta = ImageClassificationTFRecordMetadata(str(tmp_path), "*.tfrecord")
    dataset = mox.ImageClassificationTFRecordDataset
    [(image, name)] = read(lambda: dataset(meta, num_epochs=1).get(["image", "label_desc"]))
    assert image.tolist() == pixels.reshape(2, 3, 3).tolist()
    assert name == b"dog"


def test_data_sets_by_name_from_records_and_from_their_original_files(tmp_path):
    import gzip
    import struct

    with TFRecordWriter(tmp_path / "slim" / "mnist_train.tfrecord") as writer:
        content = cv2.imencode(".png", np.full((28, 28), 7, np.uint8))[1].tobytes()
        writer.write(format_example({"image/encoded": content, "image/class/label": 4}))
    (tmp_path / "idx").mkdir()
    images = gzip.compress(struct.pack(">4i", 2051, 2, 28, 28) + bytes(28 * 28 * 2))
    (tmp_path / "idx" / "t10k-images-idx3-ubyte.gz").write_bytes(images)
    labels = gzip.compress(struct.pack(">2i", 2049, 2) + bytes([3, 8]))
    (tmp_path / "idx" / "t10k-labels-idx1-ubyte.gz").write_bytes(labels)

    def rows(split, folder):
        dataset = mox.get_dataset("mnist", split, tmp_path / folder, num_epochs=1, shuffle=False)
        return read(lambda: dataset.get(["image", "label", "label_desc"][: 2 + (split == "train")]))

    [(image, label, name)] = rows("train", "slim")
    assert (image.shape, image.max(), label, name) == ((28, 28, 1), 7, 4, b"4")
    assert [(image.shape, label) for image, label in rows("test", "idx")] == [
        ((28, 28, 1), 3),
        ((28, 28, 1), 8),
    ]


class NewStyle(BaseTFRecordDataset):
    def _build_features(self, label, angle):
        self._add_feature("number", label + 1)
        self._add_feature("half", angle[0])


class OldStyle(BaseTFRecordDataset):
    def _parser(self, record):
        parsed = tf.parse_single_example(
            record,
            {
                "image/class/label": tf.FixedLenFeature([], tf.int64),
                "angle": tf.FixedLenFeature([2], tf.float32),
            },
        )
        return parsed["image/class/label"], parsed["angle"]

    def _build_feature(self, label, angle):
        self._add_feature("number", label + 1)
        self._add_feature("half", angle[0])


PARSING = {
    "feature_keys": ["image/class/label", "angle"],
    "feature_values": [tf.FixedLenFeature([], tf.int64), tf.FixedLenFeature([2], tf.float32)],
}


@pytest.mark.parametrize(("kind", "options"), [(NewStyle, PARSING), (OldStyle, {})])
def test_features_of_ones_own_in_both_styles(records, kind, options):
    meta = BaseTFRecordMetadata(str(records), "*.tfrecord")

    def make():
        dataset = kind(meta, **options, shuffle=False, num_epochs=1, num_parallel=2)
        return dataset.get(["half", "number"])

    assert [(float(h), int(n)) for h, n in read(make)] == [(n / 2, n + 1) for n in range(18)]
    with pytest.raises(DataError, match="no feature 'x': the data set has half, number"):
        read(lambda: kind(meta, **options).get(["x"]))


def test_get_tfrecord_with_handlers(records):
    from mox_tf.datasets import tfexample_decoder

    def make():
        dataset = mox.get_tfrecord(
            dataset_dir=str(records),
            file_pattern="*.tfrecord",
            keys_to_features={
                "image/encoded": tf.FixedLenFeature([], tf.string),
                "image/class/label": tf.FixedLenFeature([1], tf.int64),
                "angle": tf.VarLenFeature(tf.float32),
            },
            items_to_handlers={
                "image": tfexample_decoder.Image(shape=[24, 32, 3]),
                "label": tfexample_decoder.Tensor("image/class/label", shape=[]),
                "angle": tfexample_decoder.Tensor("angle"),
                "twice": lambda features: features["image/class/label"] * 2,
                "key": "image/class/label",
            },
            num_epochs=1,
            shuffle=False,
        )
        return dataset.get(["image", "label", "angle", "twice", "key"])

    rows = read(make)
    assert len(rows) == 18
    image, label, angle, twice, key = rows[3]
    assert image.shape == (24, 32, 3)
    assert (label, angle.tolist(), twice.tolist(), key.tolist()) == (3, [1.5, 1.0], [6], [3])


# ---- Object stores

sys.path.insert(0, str(Path(__file__).parents[1] / "storage"))
from servers.fixtures import (  # noqa: E402, F401
    object_store,
    running_object_store,
    store_settings,
)


@pytest.fixture
def bucket(object_store, store_settings, folder):  # noqa: F811
    pytest.importorskip("mox_storage_s3")
    mox.file.set_auth(
        ak=store_settings.ak,
        sk=store_settings.sk,
        server=store_settings.server,
        port=store_settings.port,
        is_secure=False,
        path_style=True,
        retry_wait=0.01,
    )
    for path in folder.rglob("*.jpg"):
        object_store.put(f"flowers/{path.relative_to(folder).as_posix()}", path.read_bytes())
    return object_store


@pytest.mark.parametrize("reader", ["threads", "processes", "cache"])
def test_images_of_an_object_store(bucket, meta, reader, tmp_path):
    remote = mox.ImageClassificationRawMetadata("s3://bucket/flowers")
    options = {"cache_dir": str(tmp_path)} if reader == "cache" else READERS[reader]
    keys, rest = ["image", "label"], {"num_epochs": 2, "image_size": 8, "batch_size": 12}
    rows = raw(remote, keys, **options, **rest)
    for got, wanted in zip(rows, raw(meta, keys, **rest), strict=True):
        assert (got[0] == wanted[0]).all() and (got[1] == wanted[1]).all()


# ---- Bad input


@pytest.fixture
def damaged(folder, tmp_path):
    """The folder with a file that is cut off, one that is no image, and a TIFF file."""
    import shutil

    copy = tmp_path / "damaged"
    shutil.copytree(folder, copy)
    cut = copy / "daisy" / "1.jpg"
    cut.write_bytes(cut.read_bytes()[:-200])
    (copy / "rose" / "0.jpg").write_bytes(b"<html>404</html>")
    (copy / "tulip" / "3.jpg").write_bytes(encode(3, ".tiff"))
    return copy


@pytest.mark.parametrize("reader", ["tensorflow", "threads", "resized"])
def test_damaged_images_are_skipped_by_name_and_counted(damaged, reader, caplog):
    meta = mox.ImageClassificationRawMetadata(str(damaged))
    options = {"shuffle": False, "num_epochs": 1, "on_error": "skip", **READERS[reader]}
    with caplog.at_level(logging.WARNING):
        rows = raw(meta, ["image", "image_name"], **options)
    by_opencv = reader == "resized"  # which knows TIFF
    assert len(rows) == 9 + by_opencv
    log = "\n".join(record.getMessage() for record in caplog.records)
    # Pillow, where it is installed, knows more of what is wrong.
    assert re.search(rf"skipped: {damaged}/daisy/1.jpg is (no image, or a damaged|damaged )", log)
    assert f"skipped: {damaged}/rose/0.jpg is no image" in log
    tiff = f"skipped: {damaged}/tulip/3.jpg is a TIFF file, which TensorFlow cannot decode"
    assert (tiff in log) != by_opencv
    assert f"{3 - by_opencv} of 12 samples were skipped." in log


@pytest.mark.parametrize("spoiled", ["last", "last, resized", "gone", "label"])
def test_a_sample_that_cannot_be_read_ends_the_run_by_its_name(folder, tmp_path, spoiled):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    meta = mox.ImageClassificationRawMetadata(str(copy))
    bad = copy / "tulip" / "3.jpg"
    augment, message = None, "is no image"
    if spoiled.startswith("last"):
        bad.write_bytes(b"GIF87a nonsense")
    elif spoiled == "gone":
        bad.unlink()
        message = "was in the listing of the folder, but is gone"
    else:
        augment = mox.get_data_augmentation_fn("cifarnet", "TRAIN", padding=0)
        bad, message = copy / "daisy" / "0.jpg", "smaller than the crop of 32 x 32"

    def input_fn(mode):
        dataset = mox.ImageClassificationRawDataset(
            meta,
            num_epochs=1,
            shuffle=False,
            augmentation_fn=augment,
            image_size=8 if "resized" in spoiled else None,
        )
        image, label = dataset.get(["image", "label"])
        return tf.reduce_sum(tf.cast(image, tf.float32)), label

    def model_fn(inputs, mode):
        return mox.ModelSpec(loss=tf.get_variable("w", []) * tf.reduce_mean(inputs[0]))

    with pytest.raises(mox_core.MoxError) as error:
        mox.run(
            input_fn=input_fn,
            model_fn=model_fn,
            optimizer_fn=mox.get_optimizer_fn("sgd", 1e-9),
            run_mode=mox.ModeKeys.TRAIN,
            batch_size=1,
            log_dir=None,
            max_number_of_steps=100,
        )
    assert f"{bad} " in str(error.value) and message in str(error.value)
    assert "pass on_error='skip'" in str(error.value)
    assert "Traceback" not in str(error.value)


def test_nothing_but_damaged_images_is_an_error_also_when_skipping(tmp_path):
    (tmp_path / "a").mkdir()
    for number in range(3):
        (tmp_path / "a" / f"{number}.jpg").write_bytes(b"nonsense")
    meta = mox.ImageClassificationRawMetadata(str(tmp_path))
    with pytest.raises(tf.errors.OpError, match="none of the 3 samples can be read"):
        raw(meta, ["image"], num_epochs=1, on_error="skip")
    with pytest.raises(tf.errors.OpError, match="no sample can be read"):
        raw(meta, ["image"], on_error="skip")


@pytest.mark.parametrize("position", ["middle", "last"])
def test_a_bit_that_flipped_in_a_tfrecord_is_found(records, tmp_path, position, caplog):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(records, copy)
    path = copy / "train_2.tfrecord"
    content = bytearray(path.read_bytes())
    place = len(content) - 30 if position == "last" else 500
    content[place] ^= 1
    path.write_bytes(content)
    number = 6 if position == "last" else 0
    name = rf"train_2.tfrecord, record {number} is damaged"
    with pytest.raises(tf.errors.OpError, match=name):
        tfrecord(copy, ["label"], num_epochs=1, shuffle=False)
    with caplog.at_level(logging.WARNING):
        rows = tfrecord(copy, ["label"], num_epochs=1, shuffle=False, on_error="skip")
    assert len(rows) == 17
    assert "1 of 18 samples were skipped." in caplog.text


def test_a_feature_that_is_missing_is_named_with_those_that_are_there(records):
    message = (
        r"train_0.tfrecord, record 0 has no feature 'x'; its features are: "
        r"angle, image/class/label, image/encoded"
    )
    meta = BaseTFRecordMetadata(str(records), "*.tfrecord")
    keys, values = ["x"], [tf.FixedLenFeature([], tf.int64)]
    with pytest.raises(tf.errors.OpError, match=message):
        read(lambda: BaseTFRecordDataset(meta, keys, values, shuffle=False).get(["x"]))


@pytest.mark.parametrize(
    ("options", "keys", "message"),
    [
        ({"batch_size": 4}, ["image"], "batch_size=4 needs images of one size"),
        ({}, ["picture"], "there is no feature 'picture'"),
        ({"batch_size": 0}, ["image"], "batch_size is 0"),
        ({"on_error": "ignore"}, ["image"], "on_error is 'ignore'"),
        ({"image_size": "big"}, ["image"], "image_size is 'big'"),
        ({"preprocess_fn": lambda *all: all[:2]}, ["image"], "preprocess_fn has to return 4"),
    ],
)
def test_arguments_that_do_not_fit_are_named(meta, options, keys, message):
    with pytest.raises(DataError, match=message):
        raw(meta, keys, **options)


def test_names_that_scripts_import():
    from mox_tf.datasets import raw as raw_package
    from mox_tf.datasets import tfrecord_common

    assert mox.datasets.ImageClassificationRawDataset is mox.ImageClassificationRawDataset
    assert mox.datasets.tfrecord_common is tfrecord_common
    assert mox.AsyncRawGenerator is AsyncRawGenerator
    assert callable(raw_package.raw_dataset.split_image_classification_dataset)
    assert callable(tfrecord_common.get_tfrecord)
