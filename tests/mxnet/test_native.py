"""Native scripts: blocks, single variables, optimizers of MXNet, and what is refused."""

from __future__ import annotations

import types

import mxnet as mx
import numpy as np
import pytest

import mox_mxnet as mox
from mox_core.engine import EngineConfig, Fetch, ProgramRequest
from mox_core.errors import EngineError, ExportError, FlagError, SpecError
from mox_core.flags import get_flag, registry, set_flag
from mox_core.spec import ModeKeys

TRAIN, EVAL, PREDICT, EXPORT = ModeKeys.TRAIN, ModeKeys.EVAL, ModeKeys.PREDICT, ModeKeys.EXPORT


@pytest.fixture(autouse=True)
def clean_flags(monkeypatch):
    monkeypatch.setattr("sys.argv", ["test"])
    mox.MXNetEngine().setup(EngineConfig(towers=1, get_flag=get_flag))  # defines the flags
    registry().reset()
    yield
    registry().reset()


def never():
    return False


def data(count=6, *, size=8):
    random = np.random.default_rng(0)
    return [
        (random.normal(size=(size, 5)).astype(np.float32), random.integers(0, 3, size))
        for _ in range(count)
    ]


def make_net(classes=3):
    net = mx.gluon.nn.HybridSequential()
    with net.name_scope():
        net.add(mx.gluon.nn.Dense(7), mx.gluon.nn.BatchNorm(), mx.gluon.nn.Dense(classes))
    net.hybridize(static_alloc=True, static_shape=True)
    return net


def model_fn(inputs, mode, make=make_net):
    mx.random.seed(0)
    features, labels = inputs
    logits = mox.block("net", make)(features)
    loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()(logits, labels).mean()
    export = mox.ExportSpec({"features": features}, {"logits": logits}) if mode == EXPORT else None
    return mox.ModelSpec(
        loss=loss, log_info={"loss": loss}, output_info={"logits": logits}, export_spec=export
    )


def sgd():
    return mx.optimizer.SGD(learning_rate=0.1)


def build(mode=TRAIN, batches=None, *, model_fn=model_fn, optimizer=sgd, towers=1, **request):
    engine = mox.MXNetEngine()
    engine.setup(EngineConfig(towers=towers, get_flag=get_flag))
    if mode == TRAIN:
        request["optimizer_fns"] = (optimizer,)
    given = data() if batches is None else batches
    return engine.build(ProgramRequest(mode, lambda mode: given, model_fn, **request))


def advance(program, count):
    results = program.run_steps(count, Fetch(values=True), never)
    assert (results.steps, results.ended) == (count, None)
    return results.values[0]


def by_hand(optimizer, batches):
    """The same training in a hand-written loop; returns the net."""
    net = make_net()
    mx.random.seed(0)
    net.initialize()
    loss_fn = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    trainer = mx.gluon.Trainer(net.collect_params(), optimizer())
    for features, labels in batches:
        with mx.autograd.record():
            loss = loss_fn(net(mx.nd.array(features)), mx.nd.array(labels)).mean()
        loss.backward()
        trainer.step(1)
    return net


def assert_equals_net(program, net):
    arrays = program.variables()
    for name, parameter in net._collect_params_with_prefix().items():
        wanted = parameter.data().asnumpy()
        got = arrays[f"net/{name.replace('.', '/')}"]
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6, err_msg=name)


OPTIMIZERS = {
    "sgd": sgd,
    "momentum": lambda: mx.optimizer.SGD(learning_rate=0.1, momentum=0.9, wd=0.01),
    "nag": lambda: mx.optimizer.NAG(learning_rate=0.1, momentum=0.9),
    "adam": lambda: mx.optimizer.Adam(learning_rate=0.01),
    "rmsprop": lambda: mx.optimizer.RMSProp(learning_rate=0.01, centered=True),
    "adagrad": lambda: mx.optimizer.AdaGrad(learning_rate=0.1),
    "scheduled": lambda: mx.optimizer.SGD(
        learning_rate=0.1, lr_scheduler=mx.lr_scheduler.FactorScheduler(1, 0.5, base_lr=0.1)
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_of_mxnet_train_and_resume(name, tmp_path):
    optimizer, batches = OPTIMIZERS[name], data()
    begun = build(optimizer=optimizer, batches=batches)
    names = [info.name for info in begun.variable_infos()]
    advance(begun, 3)
    assert [info.name for info in begun.variable_infos()] == names
    begun.save(str(tmp_path / "begun"))
    resumed = build(optimizer=optimizer, batches=batches[3:])
    assert not resumed.restore(str(tmp_path / "begun"), lambda name: True).missing_state
    advance(resumed, 3)
    assert_equals_net(resumed, by_hand(optimizer, batches))


def test_building_leaves_the_averages_of_batch_norm_alone():
    program = build()
    np.testing.assert_array_equal(program.variables()["net/1/running_mean"], np.zeros(7))
    np.testing.assert_array_equal(program.variables()["net/1/running_var"], np.ones(7))


def test_a_dataloader_and_its_dataset_are_read():
    features, labels = (np.concatenate(parts) for parts in zip(*data(), strict=True))
    dataset = mx.gluon.data.ArrayDataset(features, labels)
    loader = mx.gluon.data.DataLoader(dataset, batch_size=8, num_workers=1)
    program = build(batches=loader)
    advance(program, 6)
    assert program.run_steps(1, Fetch(), never).ended == "data"
    program.close()
    assert_equals_net(program, by_hand(sgd, data()))
    samples = build(EVAL, dataset, batch_size=20, auto_batch=True)
    sizes = [samples.run_steps(1, Fetch(values=True), never).samples for _ in range(3)]
    assert sizes == [[20], [20], [8]]


def test_an_iterator_of_mxnet_is_read_without_its_padding_and_again():
    features, labels = (np.concatenate(parts) for parts in zip(*data(), strict=True))

    def input_fn(mode):
        return mx.io.NDArrayIter(features, labels, batch_size=20)

    with_inter = {"inter_mode": EVAL}
    engine = mox.MXNetEngine()
    engine.setup(EngineConfig(towers=1, get_flag=get_flag))

    def with_hook(inputs, mode):
        spec = model_fn(inputs, mode)
        hook = mox.LogEvaluationMetricHook(spec.log_info, 20, 48, 48)
        return mox.ModelSpec(loss=spec.loss, log_info=spec.log_info, hooks=[hook])

    program = engine.build(ProgramRequest(TRAIN, input_fn, with_hook, (sgd,), **with_inter))
    (hook,) = program.inter_hooks
    for _ in range(2):
        rows = program.evaluate(hook.monitor_info, 10, never)
        assert [samples for _, samples in rows] == [20, 20, 8]


def test_a_variable_without_a_gradient_in_a_step_keeps_its_value():
    def sometimes(inputs, mode):
        features, labels = inputs
        a = mox.get_variable("a", (1,), 1.0)
        b = mox.get_variable("b", (1,), 1.0)
        loss = (a * a + b * b) if features.shape[0] == 8 else a * a
        return mox.ModelSpec(loss=loss, log_info={"loss": loss})

    program = build(batches=[*data(2), *data(1, size=4)], model_fn=sometimes)
    advance(program, 2)
    before = program.variables()
    advance(program, 1)
    after = program.variables()
    assert after["a"] != before["a"]
    assert after["b"] == before["b"]


def test_blocks_have_their_parameters_in_all_contexts():
    program = build(batches=[*data(), *data()], towers=2)
    advance(program, 6)
    arrays = [variable.arrays for variable in program._model_variables if variable.trainable]
    assert {one.context for pair in arrays for one in pair} == {mx.cpu(0), mx.cpu(1)}
    for first, second in arrays:
        np.testing.assert_array_equal(first.asnumpy(), second.asnumpy())


def test_an_exported_net_computes_the_same(tmp_path):
    trained = build()
    advance(trained, 6)
    trained.save(str(tmp_path / "a"))
    exported = build(EXPORT, input_spec=trained.input_spec)
    exported.restore(str(tmp_path / "a"), lambda name: True, state=False)
    exported.export("mxnet", str(tmp_path / "model"))
    prefix = str(tmp_path / "model" / "model")
    net = mx.gluon.SymbolBlock.imports(
        f"{prefix}-symbol.json", ["features"], f"{prefix}-0000.params"
    )
    predicted = build(PREDICT)
    predicted.restore(str(tmp_path / "a"), lambda name: True, state=False)
    logits = predicted.run_steps(1, Fetch(outputs=True), never).outputs[0]["logits"]
    got = net(mx.nd.array(data()[0][0]))
    np.testing.assert_allclose(got.asnumpy(), logits, rtol=1e-4, atol=1e-5)


# ---- What is refused -----------------------------------------------------------------------------


def refused(error, pattern, run):
    with pytest.raises(error, match=f"(?s){pattern}") as caught:
        run()
    assert len(str(caught.value).splitlines()) <= 3, str(caught.value)


def test_a_loss_that_depends_on_nothing_of_mox_is_refused():
    def forgetful(inputs, mode):
        net = make_net()
        net.initialize()
        return mox.ModelSpec(loss=net(inputs[0]).mean())

    refused(SpecError, "no trainable variable.*mox.block", lambda: build(model_fn=forgetful))


def test_a_block_that_is_never_called_is_refused():
    def forgetful(inputs, mode):
        mox.block("other", make_net)
        return model_fn(inputs, mode)

    refused(SpecError, "'other/0/weight'.*never called it", lambda: build(model_fn=forgetful))


def test_functions_called_outside_of_model_fn_are_refused():
    refused(SpecError, "get_variable.*outside of model_fn", lambda: mox.get_variable("w", (2,)))


def test_a_variable_of_another_shape_is_refused():
    def twice(inputs, mode):
        mox.get_variable("w", (2, 3))
        mox.get_variable("w", (3, 2))

    refused(SpecError, r"'w' has shape \(2, 3\).*\(3, 2\)", lambda: build(model_fn=twice))


def test_a_loss_for_each_sample_is_refused():
    def per_sample(inputs, mode):
        logits = mox.block("net", make_net)(inputs[0])
        return mox.ModelSpec(loss=mx.gluon.loss.SoftmaxCrossEntropyLoss()(logits, inputs[1]))

    refused(SpecError, r"loss.*\(8,\)", lambda: build(model_fn=per_sample))


def test_tensors_of_another_framework_are_refused():
    foreign = types.new_class("EagerTensor")
    foreign.__module__ = "tensorflow.python"
    refused(
        SpecError,
        r"inputs\[0\] of item 0 of input_fn\(TRAIN\) is a tensorflow EagerTensor.*MXNet",
        lambda: build(batches=[(foreign(), np.zeros(2))]),
    )


def test_a_batch_without_samples_is_refused():
    batches = [*data(1), (np.zeros((0, 5), np.float32), np.zeros(0, np.int64))]
    pattern = r"inputs\[0\] of input_fn\(TRAIN\) has the shape \(0, 5\)"
    refused(SpecError, pattern, lambda: build(batches=batches).run_steps(2, Fetch(), never))


@pytest.mark.parametrize("what", ["labels", "an array of its own", "NumPy"])
def test_an_export_that_mxnet_cannot_make_says_why(what, tmp_path):
    def model(inputs, mode):
        features, labels = inputs
        weights = mox.get_variable("w", (5, 3), mx.init.One())
        y = mx.nd.dot(features, weights)
        if what == "labels":
            y = mx.nd.broadcast_add(y, labels.astype("float32").reshape((-1, 1)))
        elif what == "NumPy":
            y = mx.nd.array(y.asnumpy())
        else:
            y = mx.nd.broadcast_mul(y, mx.nd.array([1.0, 2.0, 3.0]))
        return mox.ModelSpec(
            loss=y.mean(), export_spec=mox.ExportSpec({"features": features}, {"y": y})
        )

    spec = {0: ((8, 5), np.float32), 1: ((8,), np.int64)}
    program = build(EXPORT, model_fn=model, input_spec=spec)
    refused(
        ExportError,
        {"labels": "need the inputs '1'", "NumPy": "not computed by operations of MXNet"}.get(
            what, "arrays that model_fn makes itself"
        ),
        lambda: program.export("mxnet", str(tmp_path / "model")),
    )


@pytest.mark.parametrize(
    ("error", "flags", "message"),
    [
        (EngineError, {"mxnet_device": "gpu"}, "1 GPUs are asked for.*finds 0"),
        (FlagError, {"use_fp16": True}, "use_fp16.*no training in half precision"),
        (FlagError, {"loss_scale": "dynamic"}, "loss_scale dynamic"),
    ],
)
def test_flags_that_do_not_fit(error, flags, message):
    for name, value in flags.items():
        set_flag(name, value)
    refused(error, message, build)


def test_an_optimizer_of_another_kind_is_refused():
    refused(SpecError, "returned a str.*mx.optimizer", lambda: build(optimizer=lambda: "sgd"))
