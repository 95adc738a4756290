"""Neutral models on MXNet: the symbols, and runs of them."""

from __future__ import annotations

import mxnet as mx
import numpy as np
import pytest

import mox_core as mox
from mox_core import nn
from mox_core.engine import Fetch
from mox_core.nn.lowering import table_problems
from mox_core.optim.spec import get_optimizer_fn
from mox_core.spec import ModeKeys
from mox_core.testing.image_model import image_batches, image_model
from mox_core.testing.nn_bench import NNBench, never
from mox_mxnet import MXNetEngine
from mox_mxnet.nn_symbols import TABLE

TRAIN, EVAL, PREDICT, EXPORT = ModeKeys.TRAIN, ModeKeys.EVAL, ModeKeys.PREDICT, ModeKeys.EXPORT


@pytest.fixture
def build():
    """Builds programs: `build(mode, batches)`."""
    bench = NNBench(MXNetEngine)

    def build(mode, data=(), *, model_fn=image_model, **request):
        request.setdefault("optimizers", [get_optimizer_fn("momentum", 0.05)])
        return bench.build(mode, data, model_fn, **request)

    yield build
    bench.close()


def losses(program, count):
    found = [program.run_steps(1, Fetch(values=True), never) for _ in range(count)]
    return [[tower["loss"] for tower in results.values] for results in found]


def test_the_table_has_every_operation():
    assert table_problems(TABLE) == []


def test_weights_lie_as_mxnet_wants_them(build):
    program = build(TRAIN, image_batches(1))
    native = {variable.name: variable.arrays[0] for variable in program._model_variables}
    assert native["conv1/weights"].shape == (8, 2, 3, 3)
    assert program.variables()["conv1/weights"].shape == (3, 3, 2, 8)
    assert native["logits/weights"].shape == program.variables()["logits/weights"].shape[::-1]
    infos = {info.name: info.shape for info in program.variable_infos()}
    assert infos["separable/depthwise_weights"] == (3, 3, 8, 2)
    assert infos["separable/depthwise_weights/Momentum"] == (3, 3, 8, 2)


def test_trains_evaluates_predicts_and_exports(build, tmp_path):
    data = image_batches(40)
    trained = build(TRAIN, data)
    first = losses(trained, 1)[0][0]
    trained.run_steps(38, Fetch(), never)
    assert losses(trained, 1)[0][0] < first / 3
    trained.save(str(tmp_path / "a"))

    evaluated = build(EVAL, data[-1:])
    assert not evaluated.restore(str(tmp_path / "a"), lambda name: True).missing
    assert evaluated.run_steps(1, Fetch(values=True), never).values[0]["accuracy"] >= 0.75

    predicted = build(PREDICT, data[-1:])
    predicted.restore(str(tmp_path / "a"), lambda name: True, state=False)
    outputs = predicted.run_steps(1, Fetch(outputs=True), never).outputs[0]
    assert outputs["accuracy"].shape == ()

    exported = build(EXPORT, input_spec=trained.input_spec)
    exported.restore(str(tmp_path / "a"), lambda name: True, state=False)
    exported.export("mxnet", str(tmp_path / "model"))
    prefix = str(tmp_path / "model" / "model")
    net = mx.gluon.SymbolBlock.imports(f"{prefix}-symbol.json", ["images"], f"{prefix}-0000.params")
    images = mx.nd.array(data[-1][0])
    np.testing.assert_allclose(net(images).asnumpy(), outputs["logits"], rtol=1e-3, atol=1e-4)
    assert net(images[:3]).shape == (3, 3)


def test_exports_to_onnx(build, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx.mapping")

    def model_fn(inputs, mode):
        images, _ = inputs
        params = {"normalizer_fn": nn.batch_norm, "normalizer_params": {"scale": True}}
        x = nn.conv2d(images, 4, kernel_size=3, **params)
        x = nn.relu6(nn.separable_conv2d(x, 4, kernel_size=3) + x)
        x = nn.reduce_mean(nn.max_pool2d(x, 2), axes=(1, 2))
        logits = nn.fully_connected(x, 3, activation_fn=None)
        return mox.ModelSpec(
            loss=nn.l2_loss(logits),
            output_info={"logits": logits},
            export_spec=mox.ExportSpec({"images": images}, {"logits": logits}),
        )

    data = image_batches(1)
    predicted = build(PREDICT, data, model_fn=model_fn)
    logits = predicted.run_steps(1, Fetch(outputs=True), never).outputs[0]["logits"]
    program = build(EXPORT, input_spec=predicted.input_spec, model_fn=model_fn)
    program.export("onnx", str(tmp_path / "model"))
    session = onnxruntime.InferenceSession(str(tmp_path / "model" / "model.onnx"))
    assert [one.name for one in session.get_inputs()] == ["images"]
    assert not session.get_overridable_initializers(), "variables are constants"
    (got,) = session.run(None, {"images": data[0][0]})
    np.testing.assert_allclose(got, logits, rtol=1e-3, atol=1e-5)


def test_large_and_small_variables_are_updated_alike(build):
    """They go through different operations of MXNet."""

    def model_fn(inputs, mode):
        small, large = (
            nn.get_variable(name, (size,), initializer=nn.ones)
            for name, size in (("small", 10), ("large", 5000))
        )
        return mox.ModelSpec(loss=nn.l2_loss(small - 3.0) + nn.l2_loss(large - 3.0))

    optimizer = [get_optimizer_fn("rmsprop", 0.1, momentum=0.5)]
    program = build(TRAIN, image_batches(5), model_fn=model_fn, optimizers=optimizer)
    program.run_steps(5, Fetch(), never)
    found = program.variables()
    assert found["small"][0] > 1.1
    np.testing.assert_allclose(found["large"], np.full(5000, found["small"][0]), rtol=1e-6)


def test_a_later_loss_that_is_not_finite_is_found_two_steps_late(build):
    def model_fn(inputs, mode):  # without relu, which gives 0 for NaN on MXNet
        logits = nn.fully_connected(nn.flatten(inputs[0]), 3, activation_fn=None)
        return mox.ModelSpec(loss=nn.sparse_softmax_cross_entropy(logits, inputs[1]))

    data = image_batches(6)
    data[2][0][:] = np.nan
    program = build(TRAIN, data, model_fn=model_fn)
    results = program.run_steps(6, Fetch(), never)
    assert (results.steps, results.ended, results.nonfinite) == (3, "nan", ("loss",))
    assert program.nonfinite_variables(), "that is what keeps a checkpoint from being written"
