"""Checkpoints: TensorFlow's own files, whoever wrote them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import tensorflow.compat.v1 as tf

import mox_core as mox
import mox_tf
from mox_core.engine import Fetch, VariableInfo
from mox_core.errors import CheckpointError, SpecError
from mox_core.tf_checkpoint import TensorFlowCheckpoint


def ones(mode):
    return tf.data.Dataset.from_tensors(tf.ones([2, 3])).repeat()


def model_fn(inputs, mode):
    with tf.variable_scope("net"):
        weights = tf.get_variable("weights", [3, 4])
        bias = tf.get_variable("bias", [4], initializer=tf.zeros_initializer())
    loss = tf.reduce_mean(tf.square(tf.matmul(inputs[0], weights) + bias))
    return mox.ModelSpec(loss=loss, log_info={"loss": loss})


def everything(name):
    return True


WEIGHTS = np.arange(12, dtype=np.float32).reshape(3, 4)


def write_with_plain_tensorflow(prefix, *, step_dtype=tf.int64, version=tf.train.SaverDef.V2):
    """As a TensorFlow 1 script would: reference variables, its own Saver."""
    with tf.Graph().as_default(), tf.Session() as session:
        with tf.variable_scope("net", use_resource=False):
            tf.get_variable("weights", initializer=WEIGHTS)
            tf.get_variable("bias", initializer=tf.ones([4]))
        tf.get_variable("global_step", initializer=tf.constant(7, step_dtype), trainable=False)
        tf.get_variable("not_of_the_model", [2])
        session.run(tf.global_variables_initializer())
        return tf.train.Saver(write_version=version).save(
            session, prefix, write_meta_graph=False, write_state=False
        )


@pytest.mark.parametrize("step_dtype", [tf.int64, tf.int32])
@pytest.mark.parametrize("version", [tf.train.SaverDef.V1, tf.train.SaverDef.V2])
def test_reads_what_plain_tensorflow_wrote(bench, tmp_path, step_dtype, version):
    prefix = str(tmp_path / "old.ckpt")
    write_with_plain_tensorflow(prefix, step_dtype=step_dtype, version=version)
    program = bench.train(ones, model_fn, mox_tf.get_optimizer_fn("momentum", 0.1))
    report = program.restore(prefix, everything)
    assert set(report.restored) == {"net/weights", "net/bias", "global_step"}
    assert set(report.missing_state) == {"net/weights/Momentum", "net/bias/Momentum"}
    values = program.variables()
    assert (values["net/weights"] == WEIGHTS).all()
    assert (values["net/bias"] == 1).all()
    assert program.global_step == 7
    from mox_tf.engine import TensorFlowEngine

    described = TensorFlowEngine().read_checkpoint(prefix)
    assert VariableInfo("net/weights", (3, 4), "float32") in described
    assert VariableInfo("not_of_the_model", (2,), "float32") in described


def test_plain_tensorflow_reads_what_it_wrote(bench, tmp_path):
    program = bench.train(ones, model_fn, mox_tf.get_optimizer_fn("adam", 0.1), towers=2)
    bench.run(program, 3)
    prefix = str(tmp_path / "model.ckpt-3")
    program.save(prefix)
    assert sorted(os.listdir(tmp_path)) == [
        "model.ckpt-3.data-00000-of-00001",
        "model.ckpt-3.index",
    ]
    with tf.Graph().as_default(), tf.Session() as session:
        weights = tf.get_variable("net/weights", [3, 4])
        slot = tf.get_variable("net/weights/Adam", [3, 4])
        power = tf.get_variable("beta1_power", [])
        tf.train.Saver().restore(session, prefix)
        values = program.variables()
        assert (session.run(weights) == values["net/weights"]).all()
        assert (session.run(slot) == values["net/weights/Adam"]).all()
        assert session.run(power) == pytest.approx(0.9**4)


def test_many_checkpoints_of_one_program_all_stay(bench, tmp_path):
    program = bench.train(ones, model_fn)
    for number in range(8):
        program.save(str(tmp_path / f"model.ckpt-{number}"))
    assert len(list(tmp_path.glob("*.index"))) == 8


def test_a_table_is_saved_and_restored(bench, tmp_path):
    def with_table(inputs, mode):
        spec = model_fn(inputs, mode)
        table = tf.raw_ops.MutableHashTableV2(key_dtype=tf.int64, value_dtype=tf.float32)
        size = tf.cast(tf.raw_ops.LookupTableSizeV2(table_handle=table), tf.float32)
        return mox.ModelSpec(loss=spec.loss, log_info={"size": size})

    assert bench.run(bench.train(ones, with_table)).values == [{"size": 0.0}]


@pytest.mark.parametrize("parts", [1, 3])
def test_the_parts_of_a_variable_are_saved_as_one(bench, tmp_path, parts):
    def in_parts(number):
        def model_fn(inputs, mode):
            partitioner = tf.fixed_size_partitioner(number) if number > 1 else None
            rows = tf.get_variable("rows", [6, 2], partitioner=partitioner)
            whole = tf.convert_to_tensor(rows)
            loss = tf.reduce_sum(tf.square(whole))
            return mox.ModelSpec(loss=loss, output_info={"rows": whole})

        return model_fn

    momentum = mox_tf.get_optimizer_fn("momentum", 0.1)
    program = bench.train(ones, in_parts(2), momentum)
    bench.run(program, 3)
    prefix = str(tmp_path / "model.ckpt-3")
    program.save(prefix)
    other = bench.train(ones, in_parts(parts), momentum)
    report = other.restore(prefix, everything)
    assert (report.missing, report.missing_state, dict(report.mismatched)) == ((), (), {})
    rows = [bench.run(p, 2, Fetch(outputs=True)).outputs[1]["rows"] for p in (program, other)]
    np.testing.assert_array_equal(*rows)


def test_an_initializer_that_reads_a_checkpoint_works(bench, tmp_path):
    prefix = str(tmp_path / "old.ckpt")
    write_with_plain_tensorflow(prefix)

    def warm(inputs, mode):
        spec = model_fn(inputs, mode)
        tf.train.init_from_checkpoint(prefix, {"net/weights": "net/weights"})
        return spec

    assert (bench.train(ones, warm).variables()["net/weights"] == WEIGHTS).all()


def test_a_dtype_that_does_not_fit_is_refused(bench, tmp_path):
    prefix = str(tmp_path / "float_step")
    write_with_plain_tensorflow(prefix, step_dtype=tf.float32)
    program = bench.train(ones, model_fn)
    before = program.variables()
    with pytest.raises(CheckpointError, match="(?s)float_step.*'global_step' is float32.*int64"):
        program.restore(prefix, everything)
    assert all((program.variables()[name] == before[name]).all() for name in before)


def test_a_place_that_cannot_be_written_is_told(bench, tmp_path):
    (tmp_path / "file").write_text("")
    program = bench.train(ones, model_fn)
    with pytest.raises(CheckpointError, match="file/model.ckpt-0 cannot be written") as caught:
        program.save(str(tmp_path / "file" / "model.ckpt-0"))
    assert len(str(caught.value).splitlines()) == 1


def test_a_disk_that_takes_no_more_is_told(bench, tmp_path):
    resource = pytest.importorskip("resource")
    program = bench.train(ones, model_fn)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, limits[1]))  # bytes; a write fails, as when full
    try:
        with pytest.raises(CheckpointError, match="model.ckpt-0 cannot be written") as caught:
            program.save(str(tmp_path / "model.ckpt-0"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(str(caught.value).splitlines()) == 1
    program.save(str(tmp_path / "model.ckpt-0"))
    program.restore(str(tmp_path / "model.ckpt-0"), everything)


def test_damaged_and_foreign_files_are_told_apart(bench, tmp_path):
    from mox_tf.engine import TensorFlowEngine

    read = TensorFlowEngine().read_checkpoint
    prefix = str(tmp_path / "old.ckpt")
    assert read(prefix) is None
    write_with_plain_tensorflow(prefix)
    shutil.copy(f"{prefix}.index", tmp_path / "alone.index")
    assert read(str(tmp_path / "alone")) is not None
    (tmp_path / "cut.index").write_bytes((tmp_path / "old.ckpt.index").read_bytes()[:50])
    with pytest.raises(CheckpointError, match="cut is damaged: "):
        read(str(tmp_path / "cut"))
    (tmp_path / "text").write_text("some text")
    assert read(str(tmp_path / "text")) is None


def test_assign_names_what_does_not_fit(bench):
    program = bench.train(ones, model_fn)
    before = program.variables()
    with pytest.raises(SpecError, match="'net/wights'.*Did you mean 'net/weights'"):
        program.assign({"net/bias": np.ones(4), "net/wights": WEIGHTS})
    with pytest.raises(SpecError, match=r"'net/bias' has shape \(4,\).*has \(5,\)"):
        program.assign({"net/weights": WEIGHTS, "net/bias": np.ones(5)})
    after = program.variables()
    assert all((after[name] == before[name]).all() for name in before)


def test_nan_and_infinity_are_found(bench):
    program = bench.train(ones, model_fn, mox_tf.get_optimizer_fn("momentum", 0.1))
    assert program.nonfinite_variables() == []
    program.assign({"net/bias": [0, 0, np.inf, 0], "net/weights/Momentum": WEIGHTS * np.nan})
    assert sorted(program.nonfinite_variables()) == ["net/bias", "net/weights/Momentum"]


@pytest.mark.parametrize("name", ["bundle.ckpt", "old.ckpt"])
def test_tensorflows_files_are_read_without_it(monkeypatch, tmp_path, name):
    """The same arrays as TensorFlow's own reader finds; 6,000 more make an index of many blocks."""
    folder = Path(__file__).parents[1] / "core" / "tf_checkpoints"
    monkeypatch.syspath_prepend(str(folder))
    import write as writer

    one = np.arange(3, dtype=np.float32)
    more = [
        (f"a_long_name_of_a_scope_that_fills_the_index_soon_{i}/w", "", one) for i in range(6000)
    ]
    writer.write(tmp_path, more if name == "bundle.ckpt" else more[:10])
    prefix = str(tmp_path / name)
    found, reader = TensorFlowCheckpoint.find(prefix), tf.train.NewCheckpointReader(prefix)
    dtypes = {key: dtype.name for key, dtype in reader.get_variable_to_dtype_map().items()}
    assert {info.name: info.dtype for info in found.infos()} == dtypes
    arrays = found.arrays()
    assert arrays.keys() == dtypes.keys() - {"text"}
    for key, array in arrays.items():
        if name == "old.ckpt" and (key.startswith("parts/") or key == "dtypes/float16"):
            wanted = writer.values()[key]  # which that reader cannot do
        else:
            wanted = reader.get_tensor(key)
        np.testing.assert_array_equal(array, wanted.astype(array.dtype), err_msg=key)
