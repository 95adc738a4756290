"""Native scripts: modules, single variables, optimizers of PyTorch, and what is refused."""

from __future__ import annotations

import types
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

import mox_torch as mox
from mox_core import nn
from mox_core.engine import EngineConfig, Fetch, ProgramRequest
from mox_core.errors import EngineError, FlagError, SpecError
from mox_core.flags import get_flag, registry, set_flag
from mox_core.spec import ModeKeys

TRAIN, EVAL, PREDICT = ModeKeys.TRAIN, ModeKeys.EVAL, ModeKeys.PREDICT


@pytest.fixture(autouse=True)
def clean_flags(monkeypatch):
    monkeypatch.setattr("sys.argv", ["test"])
    mox.TorchEngine().setup(EngineConfig(towers=1, get_flag=get_flag))  # defines the flags
    registry().reset()
    yield
    registry().reset()


def never():
    return False


def data(count=6, *, size=8):
    random = torch.Generator().manual_seed(0)
    return [
        (torch.randn(size, 5, generator=random), torch.randint(0, 3, (size,), generator=random))
        for _ in range(count)
    ]


class Net(torch.nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.hidden = torch.nn.Linear(5, 7)
        self.norm = torch.nn.BatchNorm1d(7)
        self.top = torch.nn.Linear(7, classes)

    def forward(self, x):
        return self.top(torch.relu(self.norm(self.hidden(x))))


def model_fn(inputs, mode, make=Net):
    torch.manual_seed(0)
    features, labels = inputs
    logits = mox.module("net", make)(features)
    loss = F.cross_entropy(logits, labels)
    return mox.ModelSpec(loss=loss, log_info={"loss": loss}, output_info={"logits": logits})


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1)


def build(mode=TRAIN, batches=None, *, model_fn=model_fn, optimizer=sgd, towers=1, **request):
    engine = mox.TorchEngine()
    engine.setup(EngineConfig(towers=towers, get_flag=get_flag))
    if mode == TRAIN:
        request["optimizer_fns"] = (lambda: optimizer,)
    given = data() if batches is None else batches
    return engine.build(ProgramRequest(mode, lambda mode: given, model_fn, **request))


def advance(program, count):
    results = program.run_steps(count, Fetch(values=True), never)
    assert (results.steps, results.ended) == (count, None)
    return results.values[0]


def by_hand(optimizer, batches, *, scheduler=None):
    """The same training in a hand-written loop; returns the net."""
    torch.manual_seed(0)
    net = Net()
    stepper = optimizer(net.parameters())
    stepper, schedule = stepper if isinstance(stepper, tuple) else (stepper, None)
    for features, labels in batches:
        stepper.zero_grad()
        F.cross_entropy(net(features), labels).backward()
        stepper.step()
        if schedule:
            schedule.step()
    return net


def assert_equals_net(program, net):
    arrays = program.variables()
    for name, tensor in net.state_dict().items():
        np.testing.assert_allclose(
            arrays[f"net/{name.replace('.', '/')}"], tensor.numpy(), rtol=1e-5, atol=1e-6
        )


OPTIMIZERS = {
    "sgd": sgd,
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "dampening": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.5),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1, initial_accumulator_value=0.2),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
    "nadam": lambda p: torch.optim.NAdam(p, lr=0.01),
    "asgd": lambda p: torch.optim.ASGD(p, lr=0.1),
    "rprop": lambda p: torch.optim.Rprop(p, lr=0.01),
    "adafactor": lambda p: torch.optim.Adafactor(p, lr=0.01),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_of_pytorch_train_and_resume(name, tmp_path):
    optimizer, batches = OPTIMIZERS[name], data()
    begun = build(optimizer=optimizer, batches=batches)
    begun.save(str(tmp_path / "fresh"))
    names = [info.name for info in begun.variable_infos()]
    advance(begun, 3)
    assert [info.name for info in begun.variable_infos()] == names
    begun.save(str(tmp_path / "begun"))
    resumed = build(optimizer=optimizer, batches=batches[3:])
    assert not resumed.restore(str(tmp_path / "begun"), lambda name: True).missing_state
    advance(resumed, 3)
    assert_equals_net(resumed, by_hand(optimizer, batches))
    fresh = build(optimizer=optimizer, batches=batches)
    fresh.restore(str(tmp_path / "fresh"), lambda name: True)
    advance(fresh, 6)
    assert_equals_net(fresh, by_hand(optimizer, batches))


def test_a_scheduler_of_pytorch_survives_a_restart(tmp_path):
    def optimizer(parameters):
        stepper = sgd(parameters)
        return stepper, torch.optim.lr_scheduler.ExponentialLR(stepper, 0.5)

    batches = data()
    begun = build(optimizer=optimizer, batches=batches)
    advance(begun, 3)
    begun.save(str(tmp_path / "a"))
    resumed = build(optimizer=optimizer, batches=batches[3:])
    resumed.restore(str(tmp_path / "a"), lambda name: True)
    advance(resumed, 3)
    assert_equals_net(resumed, by_hand(optimizer, batches))


def test_an_optimizer_over_mox_parameters():
    batches = data()
    engine = mox.TorchEngine()
    engine.setup(EngineConfig(towers=1, get_flag=get_flag))
    program = engine.build(
        ProgramRequest(TRAIN, lambda mode: batches, model_fn, (lambda: sgd(mox.parameters()),))
    )
    advance(program, 6)
    assert_equals_net(program, by_hand(sgd, batches))


def test_building_leaves_the_averages_of_batch_norm_alone():
    program = build()
    np.testing.assert_array_equal(program.variables()["net/norm/running_mean"], np.zeros(7))


def test_a_dataloader_with_workers_and_a_dataset_are_read():
    features, labels = (torch.cat(parts) for parts in zip(*data(), strict=True))
    dataset = TensorDataset(features, labels)
    loader = DataLoader(dataset, batch_size=8, num_workers=1)
    program = build(batches=loader)
    advance(program, 6)
    assert program.run_steps(1, Fetch(), never).ended == "data"
    program.close()
    assert_equals_net(program, by_hand(sgd, data()))
    samples = build(EVAL, dataset, batch_size=20, auto_batch=True)
    sizes = [samples.run_steps(1, Fetch(values=True), never).samples for _ in range(3)]
    assert sizes == [[20], [20], [8]]


def test_gradients_of_accumulated_batches_are_those_of_the_whole():
    set_flag("torch_accumulate_steps", 2)

    def plain(inputs, mode):
        features, labels = inputs
        with mox.var_scope("net"):
            weights = mox.get_variable("weights", (5, 3))
        loss = F.cross_entropy(features @ weights, labels)
        return mox.ModelSpec(loss=loss, log_info={"loss": loss})

    batches = data()
    halves = [half for x, y in batches for half in ((x[:4], y[:4]), (x[4:], y[4:]))]
    program = build(batches=halves, model_fn=plain)
    values = [advance(program, 1)["loss"] for _ in range(6)]
    assert program.run_steps(1, Fetch(values=True), never).ended == "data"
    set_flag("torch_accumulate_steps", 1)
    whole = build(batches=batches, model_fn=plain)
    np.testing.assert_allclose(values, [advance(whole, 1)["loss"] for _ in range(6)], rtol=1e-5)


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [
        ({"torch_autocast": "bf16"}, torch.bfloat16),
        ({"use_fp16": True, "loss_scale": "dynamic"}, torch.float16),
    ],
)
def test_mixed_precision_computes_in_half_and_keeps_float32(flags, dtype, tmp_path):
    for name, value in flags.items():
        set_flag(name, value)
    seen = []

    def watched(inputs, mode):
        spec = model_fn(inputs, mode)
        seen.append(spec.output_info["logits"].dtype)
        return spec

    program = build(batches=data(2) * 10, model_fn=watched)
    first = advance(program, 1)["loss"]
    last = advance(program, 19)["loss"]
    assert last < first
    assert set(seen) == {dtype}
    assert {info.dtype for info in program.variable_infos()} == {"float32", "int64"}
    program.save(str(tmp_path / "a"))
    assert not build(model_fn=watched).restore(str(tmp_path / "a"), lambda name: True).missing


def test_channels_last_computes_the_same():
    def convolution(inputs, mode):
        torch.manual_seed(0)
        (images,) = inputs
        loss = mox.module("net", lambda: torch.nn.Conv2d(3, 4, 3))(images).square().mean()
        return mox.ModelSpec(loss=loss, log_info={"loss": loss})

    batches = [torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(i)) for i in (0, 1)]
    expected = advance(build(batches=batches, model_fn=convolution), 2)
    set_flag("torch_channels_last", True)
    program = build(batches=batches, model_fn=convolution)
    weights = program._store.trainable()["net/weight"]
    assert weights.is_contiguous(memory_format=torch.channels_last)
    assert advance(program, 2) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("neutral", [False, True])
def test_compiled_models_compute_the_same_without_a_break(neutral, monkeypatch):
    def over_nn(inputs, mode):
        features, labels = inputs
        hidden = nn.fully_connected(features, 7, normalizer_fn=nn.batch_norm, scope="hidden")
        logits = nn.fully_connected(hidden, 3, activation_fn=None, scope="top")
        loss = nn.sparse_softmax_cross_entropy(logits, labels)
        return mox.ModelSpec(loss=loss, log_info={"loss": loss})

    # Traces as the usual backend does, but needs no C++ compiler and no minutes.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters
    counters.clear()
    options = {"model_fn": over_nn if neutral else model_fn, "neutral": neutral}
    if neutral:
        options["optimizer"] = mox.get_optimizer_fn("momentum", 0.1)()
    expected = advance(build(**options), 3)
    set_flag("torch_compile", True)
    assert advance(build(**options), 3) == pytest.approx(expected, rel=1e-4)
    assert counters["stats"]["unique_graphs"] and not counters["graph_break"]


def test_losses_that_are_looked_at_late_are_named_all_the_same():
    batches = data()
    batches[2][0][:] = float("nan")
    program = build(batches=batches)
    program._waiting_is_dear = True  # as on a GPU
    results = program.run_steps(5, Fetch(), never)
    assert (results.steps, results.ended, results.nonfinite) == (3, "nan", ("loss",))
    assert program.nonfinite_variables(), "that is what keeps a checkpoint from being written"


# ---- What is refused -----------------------------------------------------------------------------


def refused(error, pattern, run):
    with pytest.raises(error, match=f"(?s){pattern}") as caught:
        run()
    assert len(str(caught.value).splitlines()) <= 3, str(caught.value)


def test_a_module_that_mox_does_not_know_is_refused():
    def forgetful(inputs, mode):
        features, labels = inputs
        return mox.ModelSpec(loss=F.cross_entropy(Net()(features), labels))

    refused(
        SpecError,
        r"shape \(.*that mox does not know.*mox.module",
        lambda: build(model_fn=forgetful),
    )


def test_functions_called_outside_of_model_fn_are_refused():
    refused(SpecError, "get_variable.*outside of model_fn", lambda: mox.get_variable("w", (2,)))


def test_a_variable_of_another_shape_is_refused():
    def twice(inputs, mode):
        mox.get_variable("w", (2, 3))
        mox.get_variable("w", (3, 2))

    refused(SpecError, r"'w' has shape \(2, 3\).*\(3, 2\)", lambda: build(model_fn=twice))


def test_tensors_of_another_framework_are_refused():
    foreign = types.new_class("EagerTensor")
    foreign.__module__ = "tensorflow.python"
    refused(
        SpecError,
        r"inputs\[0\] of item 0 of input_fn\(TRAIN\) is a tensorflow EagerTensor.*torch",
        lambda: build(batches=[(foreign(), torch.zeros(2))]),
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_cuda_where_none_is(device):
    set_flag("torch_device", device)
    refused(EngineError, f"torch_device is '{device}'.*finds 0 CUDA devices", build)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"torch_device": "tpu"}, "torch_device is 'tpu'"),
        ({"use_fp16": True, "torch_autocast": "bf16"}, "use_fp16 and --torch_autocast"),
        ({"torch_accumulate_steps": 0}, "torch_accumulate_steps is 0"),
    ],
)
def test_flags_that_do_not_fit(flags, message):
    for name, value in flags.items():
        set_flag(name, value)
    refused(FlagError, message, build)


def test_an_optimizer_that_needs_a_closure_is_refused():
    refused(SpecError, "LBFGS.*cannot step.*closure", lambda: build(optimizer=torch.optim.LBFGS))
