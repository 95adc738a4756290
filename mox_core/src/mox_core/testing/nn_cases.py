"""The cases of NNSuite: small graphs in float64, at least one for each operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mox_core import nn
from mox_core.nn import layers, ops
from mox_core.nn.graph import active_graph
from mox_core.testing.nn_reference import Array

__all__ = ["CASES", "Case"]

Build = Callable[..., Any]


@dataclass(frozen=True)
class Case:
    """A graph, and values to try it with.

    Args:
        build: (*inputs, *variables) -> tensor.
        inputs: arrays that are fed; the first dimension is the batch.
        variables: arrays that are variables.
        gradient: whether it has gradients.
    """

    build: Build
    inputs: tuple[Array, ...]
    variables: tuple[Array, ...] = field(default=())
    gradient: bool = True


def _random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def _positive(*shape: int) -> Array:
    return np.abs(_random(*shape)) + 0.5


def _labels(*shape: int, classes: int) -> Array:
    return np.random.default_rng(0).integers(0, classes, shape)


def _unary(build: Build, *, positive: bool = False, gradient: bool = True) -> Case:
    return Case(build, ((_positive if positive else _random)(3, 4),), gradient=gradient)


def _binary(build: Build, *, gradient: bool = True) -> dict[str, Case]:
    """Equal shapes, and one of them stretched."""
    a, b = _positive(3, 4), _positive(4)
    return {
        "": Case(build, (a, _random(3, 4, seed=1) ** 2 + 0.5), gradient=gradient),
        " broadcast": Case(build, (a,), (b,), gradient=gradient),
        " outer": Case(build, (_positive(3, 1),), (b,), gradient=gradient),
    }


def _conv(
    size: tuple[int, int], kernel: int, *, channels: int = 2, outputs: int = 3, **attrs: Any
) -> Case:
    groups = attrs.get("groups", 1)

    def build(x: Any, weights: Any, bias: Any = None) -> Any:
        options = {"strides": 1, "padding": "SAME", "dilations": 1, "groups": 1, **attrs}
        return active_graph("conv2d").add("conv2d", (x, weights, bias), options)

    weights = _random(kernel, kernel, channels // groups, outputs)
    return Case(build, (_random(2, *size, channels),), (weights, _random(outputs)))


def _depthwise(size: tuple[int, int], kernel: int, **attrs: Any) -> Case:
    def build(x: Any, weights: Any, bias: Any) -> Any:
        options = {"strides": 1, "padding": "SAME", "dilations": 1, **attrs}
        return active_graph("depthwise_conv2d").add("depthwise_conv2d", (x, weights, bias), options)

    variables = (_random(kernel, kernel, 3, 2), _random(6))
    return Case(build, (_random(2, *size, 3),), variables)


def _pool(function: Build, size: tuple[int, int], kernel: Any, stride: Any, padding: Any) -> Case:
    return Case(
        lambda x: function(x, kernel, stride=stride, padding=padding), (_random(2, *size, 2),)
    )


def _norm(rank: int, *, training: bool, gamma: bool = True, beta: bool = True) -> Case:
    x = _random(*(6, 3, 2, 4)[: rank - 1], 4)

    def build(x: Any, *statistics: Any) -> Any:
        given = list(statistics)
        scale = given.pop(0) if gamma else None
        offset = given.pop(0) if beta else None
        moving = [
            nn.get_variable(
                name, (4,), dtype="float64", initializer=nn.constant(value), trainable=False
            )
            for name, value in (("mean", (0.5, -0.2, 0.1, 0.3)), ("variance", (1.5, 0.7, 2.0, 1.0)))
        ]
        attrs = {"training": training, "epsilon": 0.01, "decay": 0.9}
        inputs = (x, scale, offset, *moving)
        return active_graph("batch_norm").add("batch_norm", inputs, attrs)

    variables = [*([_random(4)] if gamma else []), *([_random(4, seed=2)] if beta else [])]
    return Case(build, (x,), tuple(variables))


def _xent(build: Build) -> Case:
    labels = np.abs(_random(4, 3, seed=1))
    return Case(build, (_random(4, 3), labels / labels.sum(axis=-1, keepdims=True)))


def _reduce(function: Build) -> dict[str, Case]:
    x = _random(3, 2, 4)
    return {
        "": Case(lambda x: function(x), (x,)),
        " of axes": Case(lambda x: function(x, (1, -1)), (x,)),
        " of the batch": Case(lambda x: function(x, 0), (x,)),
        " keepdims": Case(lambda x: function(x, 1, keepdims=True), (x,)),
    }


def _groups(**cases: dict[str, Case]) -> dict[str, Case]:
    return {name + suffix: case for name, group in cases.items() for suffix, case in group.items()}


def _images(function: Build) -> dict[str, Case]:
    """Windows with every kind of padding: none, symmetric, and with an odd pixel."""
    places = {
        " VALID": ((7, 6), 3, 2, "VALID"),
        " SAME": ((5, 5), 3, 1, "SAME"),
        " SAME even kernel": ((5, 4), 2, 1, "SAME"),
        " SAME stride 2 even": ((6, 6), 3, 2, "SAME"),
        " SAME stride 2 odd": ((7, 5), 3, 2, "SAME"),
        " SAME stride above kernel": ((7, 7), 2, 3, "SAME"),
        " SAME window above image": ((2, 3), 5, 2, "SAME"),
        " explicit": ((5, 6), 3, 2, ((1, 0), (0, 1))),
        " rectangular": ((6, 7), (2, 3), (1, 2), "SAME"),
    }
    return {name: _pool(function, *place) for name, place in places.items()}


CASES: Mapping[str, Case] = {
    "constant": Case(lambda x: x * np.arange(4.0) + 2, (_random(3, 4),)),
    "identity": _unary(ops.identity),
    "stop_gradient": Case(lambda x: ops.stop_gradient(x) * x, (_random(3, 4),)),
    "cast to int": Case(lambda x: ops.cast(x * 3, "int64"), (_random(3, 4),), gradient=False),
    "cast from bool": Case(
        lambda x: ops.cast(ops.greater(x, 0.0), "float64"), (_random(3, 4),), gradient=False
    ),
    "cast": Case(lambda x: ops.cast(ops.cast(x, "float64"), "float64"), (_random(3, 4),)),
    "negative": _unary(ops.negative),
    "abs": _unary(ops.abs),
    "square": _unary(ops.square),
    "sqrt": _unary(ops.sqrt, positive=True),
    "rsqrt": _unary(ops.rsqrt, positive=True),
    "exp": _unary(ops.exp),
    "log": _unary(ops.log, positive=True),
    "relu": _unary(ops.relu),
    "relu6": _unary(lambda x: ops.relu6(x * 8)),
    "sigmoid": _unary(lambda x: ops.sigmoid(x * 20)),
    "tanh": _unary(ops.tanh),
    "softplus": _unary(lambda x: ops.softplus(x * 20)),
    "elu": _unary(ops.elu),
    "leaky_relu": _unary(lambda x: ops.leaky_relu(x, 0.3)),
    "clip": _unary(lambda x: ops.clip(x, -0.5, 0.7)),
    **_groups(
        add=_binary(ops.add),
        subtract=_binary(ops.subtract),
        multiply=_binary(ops.multiply),
        divide=_binary(ops.divide),
        power=_binary(ops.power),
        maximum=_binary(ops.maximum),
        minimum=_binary(ops.minimum),
        equal=_binary(lambda a, b: ops.equal(a, b), gradient=False),
        not_equal=_binary(ops.not_equal, gradient=False),
        less=_binary(ops.less, gradient=False),
        less_equal=_binary(ops.less_equal, gradient=False),
        greater=_binary(ops.greater, gradient=False),
        greater_equal=_binary(ops.greater_equal, gradient=False),
        logical_and=_binary(
            lambda a, b: ops.logical_and(ops.less(a, 1.0), ops.less(b, 1.0)), gradient=False
        ),
        logical_or=_binary(
            lambda a, b: ops.logical_or(ops.less(a, 1.0), ops.less(b, 1.0)), gradient=False
        ),
        where=_binary(lambda a, b: ops.where(ops.less(a, b), a * 2, b * b)),
    ),
    "equal to itself": Case(lambda x: ops.equal(x, x), (_random(3, 4),), gradient=False),
    # layers
    "conv2d 1x1": _conv((4, 5), 1),
    "conv2d SAME": _conv((5, 5), 3),
    "conv2d SAME even kernel": _conv((5, 6), 2),
    "conv2d VALID": _conv((6, 5), 3, padding="VALID"),
    "conv2d SAME stride 2 even": _conv((6, 6), 3, strides=2),
    "conv2d SAME stride 2 odd": _conv((7, 5), 3, strides=2),
    "conv2d SAME stride 3": _conv((7, 8), 5, strides=3),
    "conv2d explicit": _conv((5, 5), 3, strides=2, padding=((0, 1), (2, 1))),
    "conv2d dilated": _conv((7, 7), 3, dilations=2),
    "conv2d dilated VALID": _conv((7, 6), 3, dilations=(3, 2), padding="VALID"),
    "conv2d groups": _conv((5, 5), 3, channels=4, outputs=6, groups=2),
    "conv2d groups stride 2": _conv((6, 5), 3, channels=6, outputs=6, groups=3, strides=2),
    "conv2d without bias": Case(
        lambda x, w: active_graph("conv2d").add(
            "conv2d",
            (x, w, None),
            {"strides": 1, "padding": "SAME", "dilations": 1, "groups": 1},
        ),
        (_random(2, 4, 4, 2),),
        (_random(3, 3, 2, 3),),
    ),
    "conv2d of computed weights": Case(
        lambda x, w: active_graph("conv2d").add(
            "conv2d",
            (x, w * 2.0, None),
            {"strides": 1, "padding": "SAME", "dilations": 1, "groups": 1},
        ),
        (_random(2, 4, 4, 2),),
        (_random(3, 3, 2, 3),),
    ),
    "depthwise_conv2d": _depthwise((5, 5), 3),
    "depthwise_conv2d stride 2": _depthwise((6, 7), 3, strides=2),
    "depthwise_conv2d dilated": _depthwise((6, 6), 2, dilations=2, padding="VALID"),
    **_groups(max_pool=_images(layers.max_pool2d), avg_pool=_images(layers.avg_pool2d)),
    "dense": Case(
        lambda x, w, b: active_graph("dense").add("dense", (x, w, b)),
        (_random(3, 4),),
        (_random(4, 2), _random(2)),
    ),
    "dense of rank 3": Case(
        lambda x, w: active_graph("dense").add("dense", (x, w, None)),
        (_random(3, 2, 4),),
        (_random(4, 2),),
    ),
    "matmul": Case(ops.matmul, (_random(3, 4),), (_random(4, 2),)),
    "batch_norm training": _norm(4, training=True),
    "batch_norm training of rows": _norm(2, training=True, gamma=False),
    "batch_norm training without beta": _norm(4, training=True, beta=False),
    "batch_norm": _norm(4, training=False),
    "batch_norm without gamma": _norm(4, training=False, gamma=False),
    "batch_norm of rows": _norm(2, training=False),
    "lrn": Case(lambda x: ops.lrn(x, 2, bias=1.5, alpha=0.3, beta=0.75), (_random(2, 2, 2, 7),)),
    "lrn wider than the channels": Case(lambda x: ops.lrn(x), (_random(2, 2, 1, 3),)),
    "gather": Case(
        lambda i, table: ops.gather(table, i), (_labels(3, 2, classes=4),), (_random(4, 3),)
    ),
    "gather by int32": Case(
        lambda i, table: ops.gather(table, ops.cast(i, "int32")),
        (_labels(3, classes=4),),
        (_random(4, 3),),
    ),
    "resize_bilinear up": Case(lambda x: ops.resize_bilinear(x, (7, 5)), (_random(2, 3, 4, 2),)),
    "resize_bilinear down": Case(lambda x: ops.resize_bilinear(x, (3, 2)), (_random(2, 7, 5, 2),)),
    "resize_nearest": Case(lambda x: ops.resize_nearest(x, (5, 2)), (_random(2, 3, 4, 2),)),
    # shapes
    "reshape": Case(lambda x: ops.reshape(x, (-1, 2, 6)), (_random(3, 3, 2, 2),)),
    "reshape into rows": Case(lambda x: ops.reshape(x, (-1, 2)), (_random(3, 4),)),
    "flatten": Case(ops.flatten, (_random(2, 3, 2, 2),)),
    "flatten after conv2d": Case(
        lambda x, w: (
            ops.flatten(
                active_graph("conv2d").add(
                    "conv2d",
                    (x, w, None),
                    {"strides": 1, "padding": "SAME", "dilations": 1, "groups": 1},
                )
            )
            * np.arange(24.0)
        ),
        (_random(2, 2, 4, 2),),
        (_random(3, 3, 2, 3),),
    ),
    "squeeze": Case(lambda x: ops.squeeze(x, (1, 2)), (_random(3, 1, 1, 4),)),
    "squeeze one": Case(lambda x: ops.squeeze(x, 2), (_random(3, 2, 1, 4),)),
    "expand_dims": Case(lambda x: ops.expand_dims(x, 1), (_random(3, 4),)),
    "expand_dims last": Case(lambda x: ops.expand_dims(x, -1), (_random(3, 4),)),
    "transpose": Case(lambda x: ops.transpose(x, (0, 3, 1, 2)), (_random(2, 3, 4, 2),)),
    "concat": Case(lambda a, b: ops.concat([a, b, a]), (_random(2, 2, 2, 3), _random(2, 2, 2, 1))),
    "concat of rows": Case(lambda a, b: ops.concat([a, b], 1), (_random(2, 3), _random(2, 4))),
    "pad": Case(
        lambda x: ops.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0)), value=0.5), (_random(2, 2, 3, 2),)
    ),
    "pad channels": Case(lambda x: ops.pad(x, ((0, 0), (2, 1))), (_random(3, 4),)),
    "slice": Case(lambda x: x[:, 1:-1, ::2, 1], (_random(2, 4, 5, 3),)),
    "split": Case(lambda x: ops.multiply(*ops.split(x, 2)), (_random(2, 3, 2, 4),)),
    "tile": Case(lambda x: ops.tile(x, (1, 2, 3)), (_random(2, 3, 2),)),
    # reductions
    **_groups(
        reduce_sum=_reduce(ops.reduce_sum),
        reduce_mean=_reduce(ops.reduce_mean),
        reduce_max=_reduce(ops.reduce_max),
        reduce_min=_reduce(ops.reduce_min),
    ),
    "global_avg_pool": Case(lambda x: layers.global_avg_pool(x), (_random(2, 3, 4, 2),)),
    "l2_loss": _unary(ops.l2_loss),
    "l1_loss": _unary(ops.l1_loss),
    "argmax": Case(lambda x: ops.argmax(x), (_random(3, 4),), gradient=False),
    "argmax of another axis": Case(lambda x: ops.argmax(x, 1), (_random(3, 4, 2),), gradient=False),
    "one_hot": Case(
        lambda labels: ops.one_hot(labels, 5, dtype="float64"),
        (_labels(3, 2, classes=5),),
        gradient=False,
    ),
    "one_hot of uint8": Case(
        lambda labels: ops.one_hot(labels, 5),
        (_labels(6, classes=5).astype(np.uint8),),
        gradient=False,
    ),
    # classification
    "softmax": _unary(lambda x: ops.softmax(x * 30)),
    "softmax of images": Case(ops.softmax, (_random(2, 2, 3, 4),)),
    "log_softmax": _unary(lambda x: ops.log_softmax(x * 30)),
    "softmax_cross_entropy": _xent(
        lambda x, y: active_graph("").add("softmax_cross_entropy", (x, y))
    ),
    "softmax_cross_entropy smoothed": _xent(
        lambda x, y: nn.softmax_cross_entropy(x * 9, y, label_smoothing=0.1, weights=2)
    ),
    "sparse_softmax_cross_entropy": Case(
        lambda x, y: active_graph("").add("sparse_softmax_cross_entropy", (x * 9, y)),
        (_random(4, 3), _labels(4, classes=3)),
    ),
    "sparse_softmax_cross_entropy of int32": Case(
        lambda x, y: active_graph("").add("sparse_softmax_cross_entropy", (x, y)),
        (_random(4, 3), _labels(4, classes=3).astype(np.int32)),
    ),
    "sparse_softmax_cross_entropy weighted": Case(
        lambda x, y, w: nn.sparse_softmax_cross_entropy(x, y, weights=w),
        (_random(4, 3), _labels(4, classes=3), np.array([1.0, 0.0, 3.0, 2.0])),
        gradient=False,
    ),
    "sigmoid_cross_entropy": _xent(
        lambda x, y: active_graph("").add("sigmoid_cross_entropy", (x * 30, y))
    ),
    "mean_squared_error": Case(nn.mean_squared_error, (_random(3, 4), _random(3, 4, seed=1))),
    "in_top_k": Case(
        lambda x, y: ops.in_top_k(x, y, 2), (_random(9, 5), _labels(9, classes=5)), gradient=False
    ),
    "in_top_k of int32": Case(
        lambda x, y: ops.in_top_k(x, y, 3),
        (_random(9, 5), _labels(9, classes=5).astype(np.int32)),
        gradient=False,
    ),
    "accuracy": Case(
        lambda x, y: nn.accuracy(x, y), (_random(9, 3), _labels(9, classes=3)), gradient=False
    ),
}
