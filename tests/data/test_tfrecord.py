"""TFRecord files and tf.Examples without TensorFlow."""

from __future__ import annotations

import os
import pickle
import struct

import numpy as np
import pytest
from sample_files import upload

import mox_core as mox
from mox_core.crc32c import _python_crc32c, crc32c
from mox_core.data.example import format_example, parse_example
from mox_core.data.source import SampleError
from mox_core.data.tfrecord import TFRecordWriter, read_records
from mox_core.errors import DataError

# A tf.Example as TensorFlow 2.21 serializes it: a = [1, -2, 3], b = [1.0, 2.0], c = [b"xx"].
BY_TENSORFLOW = bytes.fromhex(
    "0a370a150a016112101a0e0a0c01feffffffffffffffff01030a110a0162120c120a0a080000803f00000040"
    "0a0b0a016312060a040a027878"
)


def test_checksums_are_those_of_rfc_3720():
    vectors = {bytes(32): 0x8A9136AA, b"\xff" * 32: 0x62A8AB43, bytes(range(32)): 0x46DD794E}
    for data, value in vectors.items():
        assert crc32c(data) == _python_crc32c(data) == value


def test_examples_are_read_as_they_were_written():
    features = {
        "text": "größe",
        "several": [b"a", b"", b"c"],
        "numbers": [1, -2, 2**63 - 1, -(2**63)],
        "one": 7,
        "floats": [1.5, -2.0],
        "none": [],
    }
    read = parse_example(format_example(features))
    assert read["text"] == ["größe".encode()]
    assert read["several"] == [b"a", b"", b"c"]
    assert read["numbers"].tolist() == features["numbers"]
    assert read["one"].tolist() == [7]
    assert read["floats"].tolist() == [1.5, -2.0]
    assert read["floats"].dtype == np.float32
    assert len(read["none"]) == 0


def test_what_tensorflow_wrote_is_read():
    read = parse_example(BY_TENSORFLOW)
    assert read["a"].tolist() == [1, -2, 3]
    assert read["b"].tolist() == [1.0, 2.0]
    assert read["c"] == [b"xx"]


def test_numbers_that_are_not_packed_are_read():
    """proto2 writers write one field per number."""
    values = b"\x08\x05\x08\x06"
    feature = b"\x1a" + bytes([len(values)]) + values
    entry = b"\x0a\x01n\x12" + bytes([len(feature)]) + feature
    message = b"\x0a" + bytes([len(entry)]) + entry
    assert parse_example(b"\x0a" + bytes([len(message)]) + message)["n"].tolist() == [5, 6]


def test_a_number_of_more_than_64_bits_is_an_error():
    values = b"\x0a\x0a" + b"\xff" * 9 + b"\x7f"
    feature = b"\x1a" + bytes([len(values)]) + values
    entry = b"\x0a\x01n\x12" + bytes([len(feature)]) + feature
    message = b"\x0a" + bytes([len(entry)]) + entry
    with pytest.raises(DataError, match="is no tf.Example"):
        parse_example(b"\x0a" + bytes([len(message)]) + message)


@pytest.mark.parametrize("cut", [1, 5, 20, 40])
def test_what_is_no_example_is_an_error(cut):
    whole = format_example({"a": b"x" * 20, "b": [1, 2, 3]})
    with pytest.raises(DataError, match="is no tf.Example"):
        parse_example(whole[:-cut])


def test_a_writer_that_fails_leaves_no_file(tmp_path):
    with pytest.raises(RuntimeError), TFRecordWriter(tmp_path / "a.tfrecord") as writer:
        writer.write(b"data")
        raise RuntimeError
    assert os.listdir(tmp_path) == []


def labels(folder, **options):
    meta = mox.ImageClassificationTFRecordMetadata(folder, "*.tfrecord")
    source = meta.source(**options)
    return [source.read(index)["label"] for index in range(len(source))]


def test_records_are_read_by_number(records):
    assert labels(records) == list(range(18))
    written = [parse_example(data) for data in read_records(records / "train_1.tfrecord")]
    assert [int(one["image/class/label"][0]) for one in written] == list(range(5, 11))


def test_remote_records_are_read_in_blocks(records, store):
    url = upload(store, records, "records")
    meta = mox.ImageClassificationTFRecordMetadata(url, "*.tfrecord")
    assert meta.num_samples == 18
    source = meta.source()
    store.requests.clear()
    order = np.random.default_rng(0).permutation(18).tolist()
    assert [source.read(index)["label"] for index in order] == order
    assert len([one for one in store.requests if one[0] == "GET"]) == 3  # one per file
    assert pickle.loads(pickle.dumps(source)).read(3)["label"] == 3


def test_counting_is_done_once(records, store):
    url = upload(store, records, "records")
    assert mox.ImageClassificationTFRecordMetadata(url, "*.tfrecord").num_samples == 18
    store.requests.clear()
    assert mox.ImageClassificationTFRecordMetadata(url, "*.tfrecord").num_samples == 18
    assert not [target for _, target in store.requests if "tfrecord" in target]
    # Another content is counted anew.
    store.put("records/train_0.tfrecord", store.get("records/train_1.tfrecord"))
    assert mox.ImageClassificationTFRecordMetadata(url, "*.tfrecord").num_samples == 19


def test_the_index_goes_to_the_cache_where_the_data_cannot_be_written(
    records, monkeypatch, tmp_path
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    from mox_core.data import record_index

    write = record_index.file.write

    def refuse(url, *args, **kwargs):
        if str(url).startswith(str(records)):
            raise PermissionError(url)
        return write(url, *args, **kwargs)

    monkeypatch.setattr(record_index.file, "write", refuse)
    assert labels(records) == list(range(18))
    assert len(list((tmp_path / "cache").rglob("*.npz"))) == 1


def test_a_damaged_index_is_written_anew(records):
    assert labels(records) == list(range(18))
    (index,) = records.glob(".mox-index-*")
    index.write_bytes(index.read_bytes()[:-30])
    assert labels(records) == list(range(18))


def damage_header(data):
    first = struct.unpack_from("<Q", data)[0] + 16
    return data[:first] + b"\xff" + data[first + 1 :]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-1], "record 4 is cut off: 1 bytes are missing"),
        (lambda data: data + b"\x01", "record 5 is cut off"),
        (damage_header, "record 1 is damaged: the checksum of its length"),
        (lambda data: b"<html>" + data, "record 0 is damaged.*\n.*no TFRecord file"),
    ],
)
@pytest.mark.parametrize("remote", [False, True])
def test_a_file_that_is_cut_or_damaged_is_named_with_the_record(
    records, store, damage, message, remote
):
    path = records / "train_0.tfrecord"
    path.write_bytes(damage(path.read_bytes()))
    folder = upload(store, records, "records") if remote else records
    meta = mox.ImageClassificationTFRecordMetadata(folder, "*.tfrecord")
    with pytest.raises(DataError, match=message) as caught:
        _ = meta.num_samples
    assert "train_0.tfrecord" in str(caught.value)
    with pytest.raises(DataError, match=message):
        meta.source()
    whole = meta.source(skip_damaged=True)
    assert whole.read(len(whole) - 1)["label"] == 17


def test_a_flipped_bit_is_found(records):
    path = records / "train_1.tfrecord"
    data = bytearray(path.read_bytes())
    length = struct.unpack_from("<Q", data)[0] + 16
    data[length + 12 + 40] ^= 1
    path.write_bytes(data)
    source = mox.ImageClassificationTFRecordMetadata(records, "*.tfrecord").source()
    with pytest.raises(SampleError, match=r"train_1.tfrecord, record 1 is damaged: the checksum"):
        source.read(6)
    assert source.read(7)["label"] == 7


def test_a_missing_feature_is_named_with_those_that_are_there(tmp_path):
    with TFRecordWriter(tmp_path / "a.tfrecord") as writer:
        writer.write(format_example({"image": b"x", "image/class/label": 1}))
    source = mox.ImageClassificationTFRecordMetadata(tmp_path, "*").source()
    message = r"a.tfrecord, record 0 has no feature 'image/encoded'; .*: image, image/class/label"
    with pytest.raises(SampleError, match=message):
        source.read(0)
