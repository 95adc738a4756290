"""Export to TF Serving: loaded and run as servers do."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import tensorflow.compat.v1 as tf

import mox_core as mox
from mox_core.errors import EngineError, ExportError, SpecError

FORMAT = mox.ExportKeys.TF_SERVING


def model_fn(inputs, mode):
    x = inputs["x"] if isinstance(inputs, dict) else inputs[0]
    weights = tf.get_variable("weights", [3, 2], initializer=tf.ones_initializer())
    y = tf.matmul(x, weights)
    loss = tf.reduce_mean(y)
    return mox.ModelSpec(
        loss=loss, export_spec=mox.ExportSpec({"x": x}, {"y": y, "x": x, "twice": 2 * y})
    )


def rows(mode):
    return tf.data.Dataset.from_tensor_slices(np.eye(3, dtype=np.float32)).repeat()


def batches(mode):
    return rows(mode).batch(2, drop_remainder=True)


def exported(bench, program, model_fn, directory):
    """Exports the model with the program's variables."""
    export = bench.export(program, model_fn)
    values = program.variables()
    export.assign({info.name: values[info.name] for info in export.variable_infos()})
    export.export(FORMAT, str(directory))
    return str(directory)


class Loaded:
    """An exported model in a session, as TensorFlow 1 loads it."""

    def __init__(self, directory):
        self.session = tf.Session(graph=tf.Graph())
        self.meta_graph = tf.saved_model.load(
            self.session, [tf.saved_model.tag_constants.SERVING], directory
        )
        self.signature = self.meta_graph.signature_def["predict_object"]

    def shape(self, name):
        return tf.TensorShape(self.signature.inputs[name].tensor_shape).as_list()

    def __call__(self, **inputs):
        feeds = {self.signature.inputs[name].name: value for name, value in inputs.items()}
        fetches = {name: info.name for name, info in self.signature.outputs.items()}
        return self.session.run(fetches, feeds)


X = np.array([[1, 2, 3], [4, 5, 6]], np.float32)


def test_an_export_computes_what_the_model_does(bench, tmp_path):
    program = bench.train(batches, model_fn, towers=2)
    bench.run(program, 3)
    weights = program.variables()["weights"]
    assert not (weights == 1).all()
    directory = exported(bench, program, model_fn, tmp_path / "1")

    loaded = Loaded(directory)
    assert loaded.signature.method_name == "tensorflow/serving/predict"
    assert list(loaded.meta_graph.meta_info_def.tags) == ["serve"]
    assert {node.device for node in loaded.meta_graph.graph_def.node} == {""}
    outputs = loaded(x=X)
    np.testing.assert_allclose(outputs["y"], X @ weights, rtol=1e-6)
    np.testing.assert_allclose(outputs["twice"], 2 * X @ weights, rtol=1e-6)
    np.testing.assert_array_equal(outputs["x"], X)
    fed, fetched = loaded.signature.inputs["x"].name, loaded.signature.outputs["x"].name
    assert fed != fetched, "TensorFlow's callables refuse a tensor that is both"

    script = """
        import json, sys
        import tensorflow as tf
        x = json.loads(sys.argv[2])
        outputs = tf.saved_model.load(sys.argv[1]).signatures["predict_object"](x=tf.constant(x))
        print(json.dumps({name: value.numpy().tolist() for name, value in outputs.items()}))
    """
    command = [sys.executable, "-c", textwrap.dedent(script), directory, json.dumps(X.tolist())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    in_tensorflow_2 = json.loads(done.stdout)
    for name, value in outputs.items():
        np.testing.assert_allclose(in_tensorflow_2[name], value, rtol=1e-6)


@pytest.mark.parametrize(
    ("input_fn", "request_fields", "shape"),
    [
        (rows, {"auto_batch": True, "batch_size": 4}, [None, 3]),
        (
            lambda mode: tf.data.make_one_shot_iterator(rows(mode)).get_next(),
            {"auto_batch": True, "batch_size": 4},
            [None, 3],
        ),
        (lambda mode: rows(mode).batch(2), {}, [None, 3]),
        (batches, {}, [2, 3]),
        (lambda mode: {"x": tf.ones([5, 3])}, {}, [5, 3]),
    ],
    ids=["auto_batch_dataset", "auto_batch_tensor", "batches", "static_batches", "dict"],
)
def test_the_inputs_have_the_shape_of_the_run(bench, tmp_path, input_fn, request_fields, shape):
    program = bench.train(input_fn, model_fn, **request_fields)
    loaded = Loaded(exported(bench, program, model_fn, tmp_path / "1"))
    assert loaded.shape("x") == shape


def test_sparse_inputs_and_tables_are_exported(bench, tmp_path):
    def input_fn(mode):
        return tf.sparse.from_dense(tf.constant([["b", ""], ["a", "b"]]))

    def lookup(inputs, mode):
        keys = tf.lookup.KeyValueTensorInitializer(["a", "b"], [1.0, 2.0])
        table = tf.lookup.StaticHashTable(keys, 0.0)
        weight = tf.get_variable("weight", [], initializer=tf.ones_initializer())
        values = tf.SparseTensor(
            inputs[0].indices, table.lookup(inputs[0].values), inputs[0].dense_shape
        )
        sums = weight * tf.sparse.reduce_sum(values, axis=1)
        spec = mox.ExportSpec({"words": inputs[0]}, {"sums": sums})
        return mox.ModelSpec(loss=tf.reduce_mean(sums), export_spec=spec)

    program = bench.train(input_fn, lookup)
    bench.run(program)
    weight = program.variables()["weight"]
    loaded = Loaded(exported(bench, program, lookup, tmp_path / "1"))
    words = loaded.signature.inputs["words"].coo_sparse
    sums = loaded.session.run(
        loaded.signature.outputs["sums"].name,
        {
            words.indices_tensor_name: [[0, 0], [1, 1]],
            words.values_tensor_name: ["a", "b"],
            words.dense_shape_tensor_name: [2, 2],
        },
    )
    np.testing.assert_allclose(sums, [weight, 2 * weight])


def test_a_model_without_variables_is_exported(bench, tmp_path):
    def double(inputs, mode):
        spec = mox.ExportSpec({"x": inputs[0]}, {"y": 2 * inputs[0]})
        return mox.ModelSpec(output_info={"y": 2 * inputs[0]}, export_spec=spec)

    program = bench.predict(batches, double)
    loaded = Loaded(exported(bench, program, double, tmp_path / "1"))
    np.testing.assert_array_equal(loaded(x=X)["y"], 2 * X)


def test_a_model_with_placeholders_of_its_own_is_exported(bench, tmp_path):
    def own_placeholder(inputs, mode):
        x = tf.placeholder_with_default(tf.zeros([1, 3]), [None, 3])
        return model_fn([x], mode)

    program = bench.train(None, own_placeholder)
    loaded = Loaded(exported(bench, program, own_placeholder, tmp_path / "1"))
    np.testing.assert_array_equal(loaded(x=X)["y"], X @ np.ones([3, 2]))


def test_what_is_no_tensor_is_refused(bench, tmp_path):
    def wrong(inputs, mode):
        spec = mox.ExportSpec({"x": inputs[0]}, {"y": [1.0, 2.0]})
        return mox.ModelSpec(loss=model_fn(inputs, mode).loss, export_spec=spec)

    program = bench.train(batches, wrong)
    with pytest.raises(SpecError, match=r"outputs_dict\['y'\] is a list"):
        exported(bench, program, wrong, tmp_path / "1")
    assert not (tmp_path / "1").exists()


def test_a_folder_that_cannot_be_written_is_told(bench, tmp_path):
    (tmp_path / "file").write_text("")
    program = bench.train(batches, model_fn)
    with pytest.raises(ExportError, match="file/1 cannot be written"):
        exported(bench, program, model_fn, tmp_path / "file" / "1")


def test_another_format_is_refused(bench, tmp_path):
    export = bench.export(bench.train(batches, model_fn), model_fn)
    with pytest.raises(EngineError, match="exports tf_serving, not 'onnx'"):
        export.export("onnx", str(tmp_path / "1"))
