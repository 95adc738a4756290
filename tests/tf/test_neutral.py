"""Neutral scripts on TensorFlow: what NNSuite, which computes in float64, leaves out."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import tensorflow.compat.v1 as tf

import mox_core as mox
from mox_core import nn
from mox_core.engine import Fetch
from mox_core.errors import SpecError
from mox_core.optim import get_optimizer_fn
from mox_core.testing.nn_cases import CASES
from mox_core.testing.nn_reference import evaluate
from mox_core.testing.toy_engine import ToyEngine
from mox_tf import nn_functions
from mox_tf.cluster.placement import cluster_scope
from mox_tf.cluster.spec import ClusterSpec
from mox_tf.networks import get_model_fn

TRAIN, EVAL, EXPORT = mox.ModeKeys.TRAIN, mox.ModeKeys.EVAL, mox.ModeKeys.EXPORT


def images_and_labels(count=8, *, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    images = random.normal(size=(count, 9, 9, 4)).astype(np.float32)
    images[..., 0] += labels[:, None, None]
    return images, labels


def batches(count):
    return [images_and_labels(seed=seed) for seed in range(count)]


def conv_net(inputs, mode):
    """Layers whose kernels in float32 are others than in float64."""
    images, labels = inputs
    norm = {"normalizer_fn": nn.batch_norm, "normalizer_params": {"decay": 0.8, "scale": True}}
    with nn.variable_scope("net"):
        x = nn.conv2d(images, 8, kernel_size=3, stride=2, scope="conv1", **norm)
        x = nn.lrn(x, 2)
        y = nn.conv2d(x, 8, kernel_size=3, groups=2, scope="conv2")
        y = nn.conv2d(y, 8, kernel_size=3, rate=2, scope="conv3")
        x = nn.leaky_relu(nn.resize_bilinear(x, (5, 5)) + nn.resize_bilinear(y, (5, 5)), 0.3)
        x = nn.avg_pool2d(x, 2, stride=1, padding=((1, 0), (0, 1)))
        x = nn.fully_connected(nn.flatten(x), 6, scope="hidden", **norm)
        logits = nn.fully_connected(x, 3, activation_fn=None, scope="logits")
    loss = nn.sparse_softmax_cross_entropy(logits, labels)
    info = {"loss": loss, "accuracy": nn.accuracy(logits, labels)}
    return mox.ModelSpec(
        loss=loss,
        log_info=info,
        output_info={"logits": logits},
        export_spec=mox.ExportSpec({"images": images}, {"logits": logits}),
        hooks=[mox.LogEvaluationMetricHook(info, 8, 32, 16)],
    )


@pytest.fixture
def train(bench):
    def train(data, model_fn=conv_net, *, optimizer="momentum", **request):
        return bench.train(
            lambda mode: data,
            model_fn,
            get_optimizer_fn(optimizer, 0.02),
            neutral=True,
            **request,
        )

    return train


def losses(bench, program, count):
    rows = [bench.run(program).values for _ in range(count)]
    return [np.mean([tower["loss"] for tower in values]) for values in rows]


def reference(model_fn, data, steps):
    from mox_core.engine import EngineConfig, ProgramRequest
    from mox_core.flags import get_flag

    engine = ToyEngine()
    engine.setup(EngineConfig(1, get_flag))
    program = engine.build(
        ProgramRequest(
            TRAIN,
            lambda mode: data,
            model_fn,
            optimizer_fns=(get_optimizer_fn("momentum", 0.02),),
            neutral=True,
        )
    )
    found = [program.run_steps(1, Fetch(values=True), lambda: False) for _ in range(steps)]
    return [row.values[0]["loss"] for row in found], program.variables()


@pytest.mark.parametrize("gradients", [True, False], ids=["onednn", "without"])
def test_float32_equals_the_reference(bench, train, monkeypatch, gradients):
    """Also where a CPU has no gradients of grouped and dilated convolutions."""
    monkeypatch.setattr(nn_functions, "_cpu_has_gradients", lambda dtype: gradients)
    data = batches(6)
    program = train(data)
    wanted, variables = reference(conv_net, data, 6)
    np.testing.assert_allclose(losses(bench, program, 6), wanted, rtol=1e-4)
    for name, value in program.variables().items():
        np.testing.assert_allclose(value, variables[name], rtol=1e-2, atol=2e-4, err_msg=name)


@pytest.mark.parametrize(
    "name", ["lrn", "resize_bilinear down", "resize_nearest", "in_top_k", "relu6", "softplus"]
)
def test_kernels_for_float32(bench, name):
    case = CASES[name]
    arrays = [a.astype(np.float32) if a.dtype == np.float64 else a for a in case.inputs]

    def model_fn(inputs, mode):
        return mox.ModelSpec(output_info={"y": case.build(*inputs)})

    program = bench.predict(lambda mode: [tuple(arrays)], model_fn, neutral=True)
    got = bench.run(program, fetch=Fetch(outputs=True)).outputs[0]["y"]
    specs = {i: nn.InputSpec((None, *a.shape[1:]), str(a.dtype)) for i, a in enumerate(arrays)}
    trace = nn.trace(model_fn, specs, mox.ModeKeys.PREDICT)
    y = trace.spec.output_info["y"]
    wanted = evaluate([y], dict(zip(trace.inputs.values(), arrays, strict=True)))[y]
    assert got.dtype == wanted.dtype
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("update", ["replicated", "distributed_replicated"])
def test_towers_update_in_every_way_alike(bench, train, update):
    def model_fn(inputs, mode):
        x = nn.conv2d(inputs[0], 2, kernel_size=3, normalizer_fn=nn.batch_norm, scope="net/conv")
        return mox.ModelSpec(loss=nn.reduce_mean(x * x), log_info={"loss": nn.reduce_mean(x)})

    data = batches(6)
    shared = train(data, model_fn, towers=2)
    program = train(data, model_fn, towers=2, flags={"variable_update": update})
    bench.run(shared, 3)
    bench.run(program, 3)
    found = program.variables()
    assert {name.split("/")[0] for name in found} == {"net", "global_step"}
    for name, value in shared.variables().items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_variables_and_operations_have_neutral_names(train):
    program = train(batches(1))
    found = {info.name: info for info in program.variable_infos()}
    assert found["net/conv1/weights"].shape == (3, 3, 4, 8)
    assert found["net/conv2/weights"].shape == (3, 3, 4, 8)
    assert found["net/conv1/weights/Momentum"].shape == (3, 3, 4, 8)
    assert "net/conv1/BatchNorm/moving_mean/Momentum" not in found
    definition = tf.GraphDef.FromString(program.graph_def())
    operations = {node.name: node.op for node in definition.node}
    assert operations["net/conv1/conv2d/Conv2D"] == "Conv2D"
    assert sum(node.ByteSize() for node in definition.node) < 200_000, "no values in the graph"


def test_an_exported_model_needs_no_python(bench, train, tmp_path):
    data = batches(3)
    program = train(data)
    bench.run(program, 3)
    program.save(str(tmp_path / "a"))
    exporting = bench.export(program, conv_net, neutral=True)
    exporting.restore(str(tmp_path / "a"), lambda name: True)
    exporting.export("tf_serving", str(tmp_path / "1"))
    evaluating = bench.eval(lambda mode: data, conv_net, neutral=True)
    evaluating.restore(str(tmp_path / "a"), lambda name: True)
    wanted = bench.run(evaluating, fetch=Fetch(outputs=True)).outputs[0]["logits"]
    with tf.Session(graph=tf.Graph()) as session:
        model = tf.saved_model.load(session, ["serve"], str(tmp_path / "1"))
        signature = model.signature_def["predict_object"]
        feeds = {signature.inputs["images"].name: data[0][0]}
        got = session.run(signature.outputs["logits"].name, feeds)
        assert not any("PyFunc" in op.type for op in session.graph.get_operations())
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


class Broken(Exception):
    pass


@pytest.mark.parametrize("mode", [TRAIN, EVAL])
def test_an_error_of_input_fn_comes_through_as_it_is(bench, train, mode):
    def items():
        yield images_and_labels()
        raise Broken("the disk is gone")

    def input_fn(asked):
        return items() if asked == mode else batches(9)

    program = bench.train(
        input_fn, conv_net, get_optimizer_fn("sgd", 0.1), neutral=True, inter_mode=EVAL
    )
    with pytest.raises(Broken, match="the disk is gone"):
        bench.run(program, 3)
        program.evaluate(program.inter_hooks[0].monitor_info, 3, lambda: False)


def test_arrays_that_input_fn_fills_anew_are_read_in_time(bench):
    memory = np.zeros(1024, np.uint8)
    aligned = (-memory.ctypes.data) % 64

    for shift in (0, 4):
        start = aligned + shift
        same = memory[start : start + 64].view(np.float32).reshape(4, 4)

        def items(same=same):
            for number in range(20):
                same[:] = number
                yield same

        def model_fn(inputs, mode):
            return mox.ModelSpec(output_info={"x": inputs[0]})

        program = bench.predict(lambda mode, items=items: items, model_fn, neutral=True)
        outputs = bench.run(program, 20, Fetch(outputs=True)).outputs
        assert [one["x"][0, 0] for one in outputs] == list(range(20))


def test_evaluations_begin_again_where_they_can(bench):
    def model_fn(inputs, mode):
        w = nn.get_variable("w", (1,), initializer=nn.ones)
        mean = nn.reduce_mean(inputs[0] * w)
        hook = mox.LogEvaluationMetricHook({"mean": mean}, 1, 10, 2)
        return mox.ModelSpec(loss=mean, log_info={"mean": mean}, hooks=[hook])

    arrays = [np.full((1, 1), number, np.float32) for number in range(3)]

    def means(eval_input, steps):
        program = bench.train(
            lambda mode: eval_input if mode == EVAL else arrays * 3,
            model_fn,
            get_optimizer_fn("sgd", 0.0),
            neutral=True,
            inter_mode=EVAL,
        )
        info = program.inter_hooks[0].monitor_info
        rows = [program.evaluate(info, steps, lambda: False) for _ in range(3)]
        return [[values["mean"] for values, _ in row] for row in rows]

    assert means(arrays, 2) == [[0, 1], [2], [0, 1]]
    assert means(arrays, 3) == [[0, 1, 2]] * 3
    assert means(iter(arrays), 2) == [[0, 1], [2], []]


def test_a_name_that_tensorflow_does_not_know(train):
    def model_fn(inputs, mode):
        with nn.variable_scope("my net"):
            return mox.ModelSpec(loss=nn.l2_loss(nn.fully_connected(nn.flatten(inputs[0]), 2)))

    with pytest.raises(SpecError, match="'my net/fully_connected/weights' cannot be named so"):
        train(batches(1), model_fn)


def test_native_scripts_take_a_neutral_optimizer(bench):
    def model_fn(inputs, mode):
        w = tf.get_variable("w", (), initializer=tf.ones_initializer())
        return mox.ModelSpec(loss=w * 2.0)

    program = bench.train(None, model_fn, mox.get_optimizer_fn("adam", 0.1))
    bench.run(program, 1)
    assert {"w/Adam", "w/Adam_1", "beta1_power"} <= program.variables().keys()


def test_on_a_cluster_first_values_are_drawn_by_the_worker():
    """The variables are on a parameter server, which does not know the worker's functions."""
    spec = ClusterSpec(("a:1",), ("b:1", "c:1"), "worker", 1, False)
    with tf.Graph().as_default() as graph, cluster_scope(spec):
        get_model_fn("lenet", "TRAIN", num_classes=10)(tf.zeros([2, 28, 28, 1]))
    drawn = [op.device for op in graph.get_operations() if op.type.startswith("PyFunc")]
    assert len(drawn) == 4
    assert set(drawn) == {"/job:worker/task:1/device:CPU:0"}
