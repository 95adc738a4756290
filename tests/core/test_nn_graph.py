"""Neutral graphs: shapes, scopes, variables, errors; no engine is involved."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest

import mox_core as mox
from mox_core import nn
from mox_core.errors import SpecError
from mox_core.nn.lowering import (
    lower,
    ordered,
    table_problems,
    trained_variables,
    variable_uses,
)
from mox_core.testing.nn_cases import CASES
from mox_core.testing.nn_reference import RULES

TRAIN, EVAL = mox.ModeKeys.TRAIN, mox.ModeKeys.EVAL


def build(function, *shapes, mode=EVAL, dtype="float32", store=None):
    """Traces `function(*inputs)`; what it returns is the output y."""

    def model_fn(inputs, mode):
        y = function(*inputs)
        return mox.ModelSpec(output_info={"y": y}, log_info={"l": nn.reduce_sum(y)}, loss=None)

    specs = {i: nn.InputSpec(shape, dtype) for i, shape in enumerate(shapes)}
    return nn.trace(model_fn, specs, mode, store=store)


def shape_of(function, *shapes):
    return build(function, *shapes).spec.output_info["y"].shape


def error_of(function, *shapes, dtype="float32"):
    with pytest.raises(SpecError) as caught:
        build(function, *shapes, dtype=dtype)
    lines = str(caught.value).splitlines()
    assert len(lines) <= 2
    return str(caught.value)


# ---- Shapes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "shape", "expected"),
    [
        (lambda x: nn.conv2d(x, 8, kernel_size=3), (None, 9, 7, 3), (None, 9, 7, 8)),
        (lambda x: nn.conv2d(x, 8, kernel_size=3, stride=2), (None, 9, 8, 3), (None, 5, 4, 8)),
        (
            lambda x: nn.conv2d(x, 8, kernel_size=(3, 5), padding="VALID"),
            (4, 9, 8, 3),
            (4, 7, 4, 8),
        ),
        (lambda x: nn.conv2d(x, 8, kernel_size=3, rate=2), (None, 9, 8, 3), (None, 9, 8, 8)),
        (
            lambda x: nn.separable_conv2d(x, None, kernel_size=3, depth_multiplier=2),
            (None, 8, 8, 3),
            (None, 8, 8, 6),
        ),
        (lambda x: nn.max_pool2d(x, 3), (None, 9, 8, 3), (None, 4, 3, 3)),
        (lambda x: nn.avg_pool2d(x, 3, padding="SAME"), (None, 9, 8, 3), (None, 5, 4, 3)),
        (lambda x: nn.fully_connected(x, 5), (None, 4), (None, 5)),
        (nn.flatten, (None, 4, 3, 2), (None, 24)),
        (lambda x: nn.reshape(x, (-1, 6, 4)), (None, 24), (None, 6, 4)),
        (lambda x: nn.reshape(x, (-1, 4)), (6, 2), (3, 4)),
        (lambda x: nn.reduce_mean(x, (1, 2)), (None, 4, 3, 2), (None, 2)),
        (lambda x: x[:, 1:, -1], (None, 4, 3), (None, 3)),
        (lambda x: x[..., 0], (None, 4, 3), (None, 4)),
        (lambda x: nn.concat([x, x, x]), (None, 4), (None, 12)),
        (lambda x: x + np.ones((3, 1, 4)), (1, 5, 4), (3, 5, 4)),
        (lambda x: 1 - x / 2 + np.float32(3) * x, (None, 4), (None, 4)),
        (lambda x: nn.split(x, [1, 3])[1], (None, 4), (None, 3)),
    ],
)
def test_shapes(function, shape, expected):
    assert shape_of(function, shape) == expected


def test_numbers_take_the_dtype_of_the_tensor_beside_them():
    y = build(lambda x: nn.cast(2 * x + 1, "float64") / 3, (None, 2), dtype="int64")
    assert y.spec.output_info["y"].dtype == "float64"


@pytest.mark.parametrize(
    ("function", "shape", "said"),
    [
        (
            lambda x: nn.conv2d(x, 8, kernel_size=3, scope="conv1"),
            (None, 784),
            "nn.conv2d in scope 'net/conv1': expected an image batch "
            "[batch, height, width, channels], got shape (None, 784).",
        ),
        (
            lambda x: nn.conv2d(x, 8, kernel_size=5, padding="VALID"),
            (None, 4, 9, 1),
            "in scope 'net/Conv': expected an image of at least 5 x 5 pixels for this window, "
            "got 4 x 9.",
        ),
        (lambda x: nn.conv2d(x, 9, kernel_size=3, groups=2), (None, 4, 4, 4), "groups that divide"),
        (lambda x: nn.max_pool2d(x, 0), (None, 4, 4, 4), "kernel_size to be a positive"),
        (lambda x: nn.conv2d(x, 4, kernel_size=3, padding="same"), (None, 4, 4, 4), "'same'"),
        (lambda x: x + nn.cast(x, "int64"), (None, 4), "one dtype, got float32 and int64"),
        (lambda x: nn.cast(x, "int64") * 0.5, (None, 4), "one dtype, got float32 and int64"),
        (lambda x: x + np.ones((3,), "float32"), (None, 4), "(None, 4) and (3,)"),
        (lambda x: nn.reshape(x, (-1, 5)), (None, 4), "fits 4 elements per row, got (-1, 5)"),
        (lambda x: x[:, 7:], (None, 4), "a slice with elements of 4"),
        (lambda x: x[0], (None, 4), "the whole batch"),
        (lambda x: nn.argmax(x, 3), (None, 4), "axes of a tensor of rank 2, got 3"),
        (
            lambda x: nn.sparse_softmax_cross_entropy(x, x),
            (None, 4),
            "expected labels of whole numbers, got float32.",
        ),
        (
            lambda x: nn.softmax_cross_entropy(x, nn.argmax(x)),
            (None, 4),
            "expected labels of shape (None, 4), like the logits, got shape (None,).",
        ),
        (lambda x: nn.relu("text"), (None, 4), "expected nn.Tensors, numbers or NumPy arrays"),
        (lambda x: nn.fully_connected(x, 0), (None, 4), "positive sizes for 'weights', got (4, 0)"),
        (lambda x: nn.cast(x, "complex64"), (None, 4), "got 'complex64'"),
        (lambda x: nn.add_n([]), (None, 4), "got an empty list"),
    ],
)
def test_errors_name_the_scope_what_was_expected_and_what_came(function, shape, said):
    def scoped(x):
        with nn.variable_scope("net"):
            return function(x)

    assert said in error_of(scoped, shape)


def test_a_tensor_has_no_value():
    def model(x):
        if x > 0:  # `>` is no operation of tensors
            return x
        return -x

    with pytest.raises(TypeError):
        build(model, (None, 4))
    with pytest.raises(TypeError, match="has no value while model_fn builds the graph"):
        build(lambda x: x if nn.greater(x, 0.0) else -x, (None, 4))
    with pytest.raises(TypeError, match="has no value"):
        build(lambda x: [one for one in x], (None, 4))


def test_a_tensor_of_another_call():
    kept = []
    build(lambda x: kept.append(x) or x, (None, 4))
    assert "belongs to another call of model_fn" in error_of(lambda x: x + kept[0], (None, 4))


def test_outside_of_model_fn():
    with pytest.raises(SpecError, match="nn.conv2d is called outside of a neutral model_fn"):
        nn.conv2d(np.ones((1, 4, 4, 1)), 3, kernel_size=3)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (lambda x: None, "model_fn returned None"),
        (lambda x: mox.ModelSpec(log_info={"a": 3.0}), "log_info['a'] is a builtins.float"),
        (lambda x: mox.ModelSpec(log_info={"a": x}), "log_info['a'] has shape (None, 4)"),
    ],
)
def test_what_model_fn_returns_is_checked(spec, said):
    with pytest.raises(SpecError) as error:
        nn.trace(
            lambda inputs, mode: spec(inputs[0]), {0: nn.InputSpec((None, 4), "float32")}, EVAL
        )
    assert said in str(error.value)


# ---- Scopes and variables ------------------------------------------------------------------------


def names(trace):
    return list(trace.graph.variables)


def test_names_are_those_of_tf_slim():
    def model(x):
        x = nn.conv2d(x, 4, kernel_size=3)
        x = nn.conv2d(x, 4, kernel_size=3, normalizer_fn=nn.batch_norm)
        with nn.variable_scope("block"):
            x = nn.conv2d(x, 4, kernel_size=3)
            x = nn.separable_conv2d(x, 4, kernel_size=3)
        with nn.variable_scope("block"):
            x = nn.conv2d(x, 4, kernel_size=3, scope="other")
        return nn.fully_connected(nn.flatten(x), 2)

    assert names(build(model, (None, 4, 4, 1))) == [
        "Conv/weights",
        "Conv/biases",
        "Conv_1/weights",
        "Conv_1/BatchNorm/beta",
        "Conv_1/BatchNorm/moving_mean",
        "Conv_1/BatchNorm/moving_variance",
        "block/Conv/weights",
        "block/Conv/biases",
        "block/SeparableConv2d/depthwise_weights",
        "block/SeparableConv2d/pointwise_weights",
        "block/SeparableConv2d/biases",
        "block/other/weights",
        "block/other/biases",
        "fully_connected/weights",
        "fully_connected/biases",
    ]


def test_a_name_that_exists_and_reuse():
    def twice(x, **options):
        y = nn.fully_connected(x, 3, scope="layer")
        return nn.fully_connected(y, 3, scope="layer", **options)

    assert "variable 'layer/weights' exists already" in error_of(twice, (None, 3))
    shared = build(lambda x: twice(x, reuse=True), (None, 3))
    assert names(shared) == ["layer/weights", "layer/biases"]
    assert "is shared: expected float32 (5, 3)" in error_of(
        lambda x: twice(x, reuse=True), (None, 5)
    )
    assert "does not exist" in error_of(
        lambda x: nn.fully_connected(x, 3, scope="layer", reuse=True), (None, 3)
    )


def test_towers_share_variables_and_make_no_others():
    store = nn.VariableStore()
    build(lambda x: nn.fully_connected(x, 3), (None, 4), store=store)
    store.frozen = True
    build(lambda x: nn.fully_connected(x, 3), (None, 4), store=store)
    with pytest.raises(SpecError, match="made a new variable 'other/weights' in a later call"):
        build(lambda x: nn.fully_connected(x, 3, scope="other"), (None, 4), store=store)
    with pytest.raises(SpecError, match=r"float32 \(4, 3\), but .* float32 \(4, 2\)"):
        build(lambda x: nn.fully_connected(x, 2), (None, 4), store=store)


def test_collections_and_regularizers():
    def model(x):
        x = nn.fully_connected(x, 3, weights_regularizer=nn.l2_regularizer(0.1), scope="a")
        x = nn.fully_connected(x, 3, weights_regularizer=nn.l2_regularizer(0.0), scope="b")
        losses = mox.get_collection(nn.Collections.REGULARIZATION_LOSSES)
        assert len(losses) == 1
        assert mox.get_collection(nn.Collections.REGULARIZATION_LOSSES, "b/") == []
        trainable = mox.get_collection(nn.Collections.TRAINABLE_VARIABLES)
        assert [one.name for one in trainable] == ["a/weights", "a/biases", "b/weights", "b/biases"]
        return x + nn.get_regularization_loss()

    build(model, (None, 4))


def test_layers_know_the_mode():
    def model(x):
        return nn.dropout(nn.batch_norm(x))

    for mode, expected in ((TRAIN, ["batch_norm", "dropout"]), (EVAL, ["batch_norm", "identity"])):
        made = {}
        specs = {0: nn.InputSpec((None, 4), "float32")}

        def model_fn(inputs, mode, made=made):
            made["training"] = nn.is_training()
            loss = nn.reduce_sum(model(inputs[0]))
            return mox.ModelSpec(loss=loss, log_info={"loss": loss})

        graph = nn.trace(model_fn, specs, mode).graph
        assert made["training"] == (mode == TRAIN)
        assert [one.op for one in graph.tensors if one.op in (*expected, "dropout")] == expected


def test_initial_values_depend_on_the_name_and_the_seed_only():
    def value(scope, function=nn.fully_connected, seed=0):
        trace = build(lambda x: function(x, 300, scope=scope), (None, 200))
        return nn.initial_value(trace.graph.variables[f"{scope}/weights"], seed=seed)

    assert (value("a") == value("a")).all()
    assert (value("a") != value("b")).any()
    assert (value("a") != value("a", seed=1)).any()
    limit = (6 / 500) ** 0.5
    assert value("a").dtype == np.float32
    assert 0.99 * limit < np.abs(value("a")).max() <= limit


@pytest.mark.parametrize(
    ("initializer", "mean", "stddev", "largest"),
    [
        (nn.zeros, 0, 0, 0),
        (nn.constant(2.5), 2.5, 0, 2.5),
        (nn.random_normal(0.3, mean=1.0), 1.0, 0.3, 9),
        (nn.truncated_normal(0.5), 0, 0.5 * 0.8796, 1.0),
        (nn.random_uniform(-1, 3), 1, 4 / 12**0.5, 3),
        (nn.he_normal(), 0, (2 / 400) ** 0.5, 2 * (2 / 400) ** 0.5 / 0.8796),
        (nn.xavier(uniform=False), 0, (1 / 250) ** 0.5, 2 * (1 / 250) ** 0.5 / 0.8796),
    ],
)
def test_initializers(initializer, mean, stddev, largest):
    trace = build(
        lambda x: nn.matmul(x, nn.get_variable("w", (400, 100), initializer=initializer)),
        (None, 400),
    )
    value = nn.initial_value(trace.graph.variables["w"])
    assert value.mean() == pytest.approx(mean, abs=0.02)
    assert value.std() == pytest.approx(stddev, rel=0.02, abs=1e-6)
    assert np.abs(value).max() <= largest + 1e-6


def test_a_constant_of_another_shape():
    trace = build(
        lambda x: nn.get_variable("w", (2, 3), initializer=nn.constant(((1.0, 2.0),))), (None, 2)
    )
    with pytest.raises(SpecError, match=r"variable 'w' of shape \(2, 3\) cannot begin as"):
        nn.initial_value(trace.graph.variables["w"])


# ---- What engines use ----------------------------------------------------------------------------


def test_each_operation_has_a_rule_and_a_case():
    random = {"input", "variable", "dropout"}
    assert table_problems({name: rule.forward for name, rule in RULES.items()}) == [
        "dropout is missing"
    ]
    covered = set()
    for case in CASES.values():
        arrays = (*case.inputs, *case.variables)
        specs = {i: nn.InputSpec((None, *a.shape[1:]), str(a.dtype)) for i, a in enumerate(arrays)}

        def model_fn(inputs, mode, case=case, arrays=arrays):
            count = len(case.inputs)
            variables = [
                nn.get_variable(f"v{i}", a.shape, dtype=str(a.dtype))
                for i, a in enumerate(arrays[count:])
            ]
            return mox.ModelSpec(output_info={"y": case.build(*inputs[:count], *variables)})

        covered |= {one.op for one in nn.trace(model_fn, specs, mox.ModeKeys.PREDICT).graph.tensors}
    assert covered | random == set(nn.OPERATIONS)


def test_a_table_that_does_not_fit():
    def conv2d(x, weights, *, strides, padding, pads, dilations):
        """Lacks bias and groups."""

    table = {
        **{name: rule.forward for name, rule in RULES.items()},
        "conv2d": conv2d,
        "convolve": conv2d,
    }
    problems = table_problems({**table, "dropout": lambda x, *, keep_prob: x})
    assert len(problems) == 2
    assert problems[0].startswith("conv2d is called as conv2d(x, weights, bias?, strides=")
    assert problems[1] == "convolve is no operation"


def test_lowering_leaves_out_what_nobody_needs():
    def model(x):
        nn.conv2d(x, 4, kernel_size=3, scope="unused")
        return nn.relu(x * 2)

    trace = build(model, (None, 4, 4, 1))
    y = trace.spec.output_info["y"]
    called = []
    values = lower([y], {trace.inputs[0]: "x"}, lambda t, inputs: called.append((t.op, inputs)))
    assert [op for op, _ in called] == ["constant", "multiply", "relu"]
    assert called[1][1] == ["x", None] and y in values


def test_a_deep_graph_needs_no_recursion():
    def model(x):
        for _ in range(3000):
            x = x + 1.0
        return x

    assert len(ordered([build(model, (None, 4)).spec.output_info["y"]])) == 6001


def test_trained_variables_and_uses():
    def model_fn(inputs, mode):
        x = nn.conv2d(
            inputs[0],
            4,
            kernel_size=3,
            weights_regularizer=nn.l2_regularizer(0.1),
            normalizer_fn=nn.batch_norm,
            scope="a",
        )
        cut = nn.stop_gradient(nn.conv2d(x, 4, kernel_size=1, scope="cut"))
        loss = nn.reduce_mean(x + cut) + nn.get_regularization_loss()
        return mox.ModelSpec(loss=loss, var_scopes=None)

    trace = nn.trace(model_fn, {0: nn.InputSpec((None, 5, 5, 1), "float32")}, TRAIN)
    trained = [one.name for one in trained_variables(trace.spec, 0)]
    assert sorted(trained) == ["a/BatchNorm/beta", "a/weights"]
    uses = {one.name: use for one, use in variable_uses(trace.graph.tensors).items()}
    assert uses["a/weights"] == {("conv2d", "weights")}
    assert uses["cut/biases"] == {("conv2d", "bias")}


def test_a_loss_without_variables():
    def model_fn(inputs, mode):
        nn.fully_connected(inputs[0], 3)
        return mox.ModelSpec(loss=nn.reduce_mean(inputs[0]))

    trace = nn.trace(model_fn, {0: nn.InputSpec((None, 4), "float32")}, TRAIN)
    with pytest.raises(SpecError, match="loss depends on no trainable variable"):
        trained_variables(trace.spec, 0)


def test_building_a_graph_needs_no_numpy():
    """`mox net show` and an engine without NumPy import it only for values."""
    script = """
        import sys
        sys.modules["numpy"] = None
        from mox_core import nn
        from mox_core.nets import get_model_fn
        import mox_core as mox

        def model_fn(inputs, mode):
            logits, _ = get_model_fn("resnet_v1_50", mode, 10)(inputs[0])
            return mox.ModelSpec(output_info={"y": logits})

        images = nn.InputSpec((None, 64, 64, 3), "float32")
        print(nn.trace(model_fn, {0: images}, mox.ModeKeys.PREDICT).spec.output_info["y"].shape)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "(None, 10)\n", done.stderr


# ---- Optimizers ----------------------------------------------------------------------------------


def test_optimizer_specs():
    spec = mox.get_optimizer_fn("momentum", learning_rate=0.1)()
    assert (spec.name, spec.learning_rate(7), spec.parameters["momentum"]) == ("momentum", 0.1, 0.9)
    assert mox.get_optimizer_fn("adam", 0.1, None, 0.8)().parameters["beta1"] == 0.8
    with pytest.raises(SpecError, match="optimizer 'sgd' has no parameter momentum"):
        mox.get_optimizer_fn("sgd", 0.1, momentum=0.9)
    with pytest.raises(ValueError, match="Did you mean 'momentum'"):
        mox.get_optimizer_fn("momentun", 0.1)
