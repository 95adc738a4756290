"""Neutral models on PyTorch: the generated code, and runs of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import mox_core as mox
from mox_core import nn
from mox_core.engine import EngineConfig, Fetch, ProgramRequest
from mox_core.errors import SpecError
from mox_core.flags import get_flag
from mox_core.nn.lowering import lower, spec_tensors, table_problems
from mox_core.nn.tracing import InputSpec
from mox_core.optim.spec import get_optimizer_fn
from mox_core.spec import ModeKeys
from mox_torch import TorchEngine
from mox_torch.neutral import NeutralModel
from mox_torch.nn_functions import TABLE
from mox_torch.store import VariableStore

TRAIN, EVAL, PREDICT, EXPORT = ModeKeys.TRAIN, ModeKeys.EVAL, ModeKeys.PREDICT, ModeKeys.EXPORT


def images_and_labels(count, *, size=9, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    images = random.normal(size=(count, size, size, 2)).astype(np.float32)
    images[..., 0] += labels[:, None, None]
    return images, labels


def batches(count, *, batch=8):
    return [images_and_labels(batch, seed=seed) for seed in range(count)]


def everything(inputs, mode):
    """A net with every kind of image operation, and operations that leave the image layout."""
    images, labels = inputs
    x = nn.conv2d(
        images,
        8,
        kernel_size=3,
        stride=2,
        normalizer_fn=nn.batch_norm,
        normalizer_params={"decay": 0.8},
        scope="conv1",
    )
    x = nn.lrn(x)
    y = nn.separable_conv2d(x, 8, kernel_size=3, depth_multiplier=2, scope="separable")
    x = nn.concat([x + y, nn.max_pool2d(x, 3, stride=1, padding="SAME")], axis=3)
    x = nn.avg_pool2d(x, 2, padding="SAME")
    x = nn.pad(x, [(0, 0), (1, 0), (0, 1), (0, 0)])
    x = x * nn.sigmoid(nn.reduce_mean(x, axes=(1, 2), keepdims=True))
    x = nn.flatten(nn.max_pool2d(x, 2, padding="SAME"))
    logits = nn.fully_connected(x, 3, activation_fn=None, scope="logits")
    loss = nn.sparse_softmax_cross_entropy(logits, labels)
    info = {"loss": loss, "accuracy": nn.accuracy(logits, labels)}
    hooks = None
    if mode in (TRAIN, EVAL):
        hooks = [mox.LogEvaluationMetricHook(info, 8, 32, 16)]
    export = mox.ExportSpec({"images": images}, {"logits": logits}) if mode == EXPORT else None
    return mox.ModelSpec(
        loss=loss, log_info=info, output_info={"logits": logits}, export_spec=export, hooks=hooks
    )


@pytest.fixture
def build():
    programs = []

    def build(mode, data=(), *, model_fn=everything, towers=1, **request):
        engine = TorchEngine()
        engine.setup(EngineConfig(towers=towers, get_flag=get_flag))
        if mode == TRAIN:
            request.setdefault("optimizer_fns", (get_optimizer_fn("momentum", 0.05),))
        program = engine.build(
            ProgramRequest(mode, lambda mode: data, model_fn, neutral=True, **request)
        )
        program.start()
        programs.append(program)
        return program

    yield build
    for program in programs:
        program.close()


def never():
    return False


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
    model = NeutralModel(everything, store)
    spec = model([torch.as_tensor(images), torch.as_tensor(labels)], mode, update=False)
    spec.loss.backward()

    trace = nn.trace(
        everything,
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
    program = build(TRAIN, batches(1))
    native = program._store.trainable()
    assert native["conv1/weights"].shape == (8, 2, 3, 3)
    assert program.variables()["conv1/weights"].shape == (3, 3, 2, 8)
    assert native["logits/weights"].shape == program.variables()["logits/weights"].shape[::-1]
    infos = {info.name: info.shape for info in program.variable_infos()}
    assert infos["separable/depthwise_weights"] == (3, 3, 8, 2)
    assert infos["separable/depthwise_weights/Momentum"] == (3, 3, 8, 2)


def test_trains_evaluates_predicts_and_exports(build, tmp_path):
    data = batches(40)
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


def test_a_restored_program_continues_exactly(build, tmp_path):
    data = batches(6)
    optimizer = (get_optimizer_fn("adam", 0.01),)
    whole, begun = (build(TRAIN, data, optimizer_fns=optimizer) for _ in range(2))
    expected = losses(whole, 6)
    losses(begun, 3)
    begun.save(str(tmp_path / "a"))
    resumed = build(TRAIN, data[3:], optimizer_fns=optimizer)
    assert not resumed.restore(str(tmp_path / "a"), lambda name: True).missing_state
    np.testing.assert_allclose(losses(resumed, 3), expected[3:], rtol=1e-5)


def test_evaluation_in_the_middle_of_training_leaves_the_averages(build):
    data = batches(4)
    program = build(TRAIN, data, inter_mode=EVAL)
    program.run_steps(2, Fetch(), never)
    before = program.variables()
    (hook,) = program.inter_hooks
    rows = program.evaluate(hook.monitor_info, 2, never)
    assert [list(row) for row, _ in rows] == [["loss", "accuracy"]] * 2
    assert [samples for _, samples in rows] == [8, 8]
    after = program.variables()
    assert any(name.endswith("moving_mean") for name in after)
    for name, array in after.items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def test_only_the_first_tower_moves_the_averages(build):
    data = batches(2)
    two, one = build(TRAIN, data, towers=2), build(TRAIN, data)
    assert len(losses(two, 1)[0]) == 2
    losses(one, 1)
    moving = "conv1/BatchNorm/moving_mean"
    np.testing.assert_allclose(two.variables()[moving], one.variables()[moving], rtol=1e-5)


def test_steps_that_nobody_looks_at_train_all_the_same(build):
    data = batches(6)
    together, apart = build(TRAIN, data), build(TRAIN, data)
    together.run_steps(6, Fetch(), never)
    losses(apart, 6)
    for name, array in apart.variables().items():
        np.testing.assert_allclose(together.variables()[name], array, rtol=1e-4, atol=1e-5)


def test_a_batch_of_another_image_size_is_refused(build):
    program = build(TRAIN, [images_and_labels(4, size=9), images_and_labels(4, size=10)])
    with pytest.raises(SpecError, match=r"(?s)\(4, 10, 10, 2\).*\(None, 9, 9, 2\)"):
        program.run_steps(2, Fetch(), never)
