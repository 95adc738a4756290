"""Neutral models on PyTorch: the generated code, and runs of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mox_core import nn
from mox_core.engine import Fetch
from mox_core.nn.lowering import lower, spec_tensors, table_problems
from mox_core.nn.tracing import InputSpec
from mox_core.optim.spec import get_optimizer_fn
from mox_core.spec import ModeKeys
from mox_core.testing.image_model import image_batches, image_model, images_and_labels
from mox_core.testing.nn_bench import NNBench, never
from mox_torch import TorchEngine
from mox_torch.neutral import NeutralModel
from mox_torch.nn_functions import TABLE
from mox_torch.store import VariableStore

TRAIN, EVAL, PREDICT, EXPORT = ModeKeys.TRAIN, ModeKeys.EVAL, ModeKeys.PREDICT, ModeKeys.EXPORT


@pytest.fixture
def build():
    """Builds programs: `build(mode, batches)`."""
    bench = NNBench(TorchEngine)

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


@pytest.mark.parametrize("mode", [TRAIN, EVAL])
@pytest.mark.parametrize("size", [9, 10])
def test_generated_code_computes_what_the_table_does(mode, size):
    images, labels = images_and_labels(4, size=size)
    store = VariableStore(torch.device("cpu"))
    model = NeutralModel(image_model, store)
    spec = model([torch.as_tensor(images), torch.as_tensor(labels)], mode, update=False)
    spec.loss.backward()

    trace = nn.trace(
        image_model,
        {0: InputSpec((None, *images.shape[1:]), "float32"), 1: InputSpec((None,), "int64")},
        mode,
    )
    variables = {
        one: torch.tensor(nn.initial_value(one), requires_grad=one.trainable)
        for one in trace.graph.variables.values()
    }
    given = {**variables, trace.inputs[0]: torch.as_tensor(images)}
    given[trace.inputs[1]] = torch.as_tensor(labels)
    values = lower(
        spec_tensors(trace.spec), given, lambda one, inputs: TABLE[one.op](*inputs, **one.attrs)
    )
    values[trace.spec.loss].backward()
    torch.testing.assert_close(spec.loss, values[trace.spec.loss])
    logits = values[trace.spec.output_info["logits"]]
    torch.testing.assert_close(spec.output_info["logits"], logits, rtol=1e-4, atol=1e-5)
    gradients = {one.name: variable.grad for one, variable in variables.items()}
    parameters = store.trainable()
    assert parameters.keys() == {name for name, grad in gradients.items() if grad is not None}
    for name, parameter in parameters.items():
        got = store.view(name, parameter.grad)
        torch.testing.assert_close(got, gradients[name], rtol=1e-3, atol=1e-5)


def test_weights_lie_as_pytorch_wants_them(build):
    program = build(TRAIN, image_batches(1))
    native = program._store.trainable()
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
    logits = predicted.run_steps(1, Fetch(outputs=True), never).outputs[0]["logits"]

    exported = build(EXPORT, input_spec=trained.input_spec)
    exported.restore(str(tmp_path / "a"), lambda name: True, state=False)
    exported.export("torch_export", str(tmp_path / "model"))
    model = torch.export.load(tmp_path / "model" / "model.pt2").module()
    images = torch.as_tensor(data[-1][0])
    np.testing.assert_allclose(
        model(images)["logits"].detach().numpy(), logits, rtol=1e-3, atol=1e-4
    )
    assert model(images[:3])["logits"].shape == (3, 3)
