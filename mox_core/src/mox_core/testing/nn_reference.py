"""The reference for neutral graphs: each operation of `mox_core.nn.OPERATIONS` in NumPy.

Written for reading, not for speed. The toy engine runs on it, and `NNSuite` compares engines with
it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mox_core.nn.lowering import lower
from mox_core.nn.tensor import Tensor

__all__ = ["RULES", "Array", "Rule", "batch_statistics", "evaluate"]

Array = npt.NDArray[Any]
Grads = tuple["Array | None", ...]
Pads = tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Rule:
    """How to compute an operation and its gradients.

    Args:
        forward: (*inputs, **attrs) -> output; None for an optional input that is left out.
        backward: (gradient of the output, output, *inputs, **attrs) -> one gradient per input, in
            the shape of the output where an input was stretched; None for an input that has none.
            None: gradients end here.
    """

    forward: Callable[..., Any]
    backward: Callable[..., Grads] | None = None


# ---- Windows over images -------------------------------------------------------------------------


def _padded(x: Array, pads: Pads, value: float = 0.0) -> Array:
    return np.pad(x, ((0, 0), *pads, (0, 0)), constant_values=value)


def _cropped(x: Array, pads: Pads) -> Array:
    (top, bottom), (left, right) = pads
    return x[:, top : x.shape[1] - bottom, left : x.shape[2] - right]


def _views(
    x: Array,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int] = (1, 1),
) -> Iterator[tuple[tuple[int, int], Array]]:
    """For each element (i, j) of the window: the pixels that it meets, a view."""
    (kh, kw), (sh, sw), (dh, dw) = kernel, strides, dilations
    height = x.shape[1] - (kh - 1) * dh
    width = x.shape[2] - (kw - 1) * dw
    for i in range(kh):
        for j in range(kw):
            rows = slice(i * dh, i * dh + height, sh)
            columns = slice(j * dw, j * dw + width, sw)
            yield (i, j), x[:, rows, columns]


def _by_group(x: Array, groups: int) -> Array:
    return x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)


def _conv2d(
    x: Array,
    weights: Array,
    bias: Array | None,
    *,
    strides: Any,
    padding: str,
    pads: Pads,
    dilations: Any,
    groups: int,
) -> Array:
    total: Any = 0.0
    for (i, j), pixels in _views(_padded(x, pads), weights.shape[:2], strides, dilations):
        if groups == 1:
            total = total + np.tensordot(pixels, weights[i, j], 1)
        else:
            part = np.einsum(
                "nhwgc,cgo->nhwgo", _by_group(pixels, groups), _by_group(weights[i, j], groups)
            )
            total = total + part.reshape(*part.shape[:3], -1)
    return np.asarray(total if bias is None else total + bias)


def _conv2d_grads(
    g: Array,
    y: Array,
    x: Array,
    weights: Array,
    bias: Array | None,
    *,
    strides: Any,
    padding: str,
    pads: Pads,
    dilations: Any,
    groups: int,
) -> Grads:
    inside = _padded(x, pads)
    to_x, to_weights = np.zeros_like(inside), np.zeros_like(weights)
    window = (weights.shape[:2], strides, dilations)
    of_groups = _by_group(g, groups)
    for ((i, j), pixels), (_, target) in zip(
        _views(inside, *window), _views(to_x, *window), strict=True
    ):
        by_group = _by_group(weights[i, j], groups)
        if groups == 1:
            target += np.tensordot(g, weights[i, j].T, 1)
            to_weights[i, j] = np.tensordot(pixels, g, ((0, 1, 2), (0, 1, 2)))
        else:
            target += np.einsum("nhwgo,cgo->nhwgc", of_groups, by_group).reshape(pixels.shape)
            part = np.einsum("nhwgc,nhwgo->cgo", _by_group(pixels, groups), of_groups)
            to_weights[i, j] = part.reshape(weights.shape[2:])
    return _cropped(to_x, pads), to_weights, _bias_grad(g, bias)


def _bias_grad(g: Array, bias: Array | None) -> Array | None:
    return None if bias is None else g.sum(axis=tuple(range(g.ndim - 1)))


def _depthwise(
    x: Array,
    weights: Array,
    bias: Array | None,
    *,
    strides: Any,
    padding: str,
    pads: Pads,
    dilations: Any,
) -> Array:
    total: Any = 0.0
    for (i, j), pixels in _views(_padded(x, pads), weights.shape[:2], strides, dilations):
        total = total + pixels[..., None] * weights[i, j]
    total = total.reshape(*total.shape[:3], -1)
    return np.asarray(total if bias is None else total + bias)


def _depthwise_grads(
    g: Array,
    y: Array,
    x: Array,
    weights: Array,
    bias: Array | None,
    *,
    strides: Any,
    padding: str,
    pads: Pads,
    dilations: Any,
) -> Grads:
    inside = _padded(x, pads)
    to_x, to_weights = np.zeros_like(inside), np.zeros_like(weights)
    window = (weights.shape[:2], strides, dilations)
    by_channel = g.reshape(*g.shape[:3], *weights.shape[2:])
    for ((i, j), pixels), (_, target) in zip(
        _views(inside, *window), _views(to_x, *window), strict=True
    ):
        target += (by_channel * weights[i, j]).sum(axis=-1)
        to_weights[i, j] = (pixels[..., None] * by_channel).sum(axis=(0, 1, 2))
    return _cropped(to_x, pads), to_weights, _bias_grad(g, bias)


def _max_pool(x: Array, *, kernel_size: Any, strides: Any, padding: str, pads: Pads) -> Array:
    inside = _padded(x, pads, -np.inf)
    return np.asarray(np.max([v for _, v in _views(inside, kernel_size, strides)], axis=0))


def _max_pool_grads(
    g: Array, y: Array, x: Array, *, kernel_size: Any, strides: Any, padding: str, pads: Pads
) -> Grads:
    """The whole gradient goes to the first of equal pixels."""
    inside = _padded(x, pads, -np.inf)
    to_x = np.zeros(inside.shape, g.dtype)
    open_ = np.ones(y.shape, bool)
    for (_, pixels), (_, target) in zip(
        _views(inside, kernel_size, strides), _views(to_x, kernel_size, strides), strict=True
    ):
        chosen = open_ & (pixels == y)
        target += g * chosen
        open_ &= ~chosen
    return (_cropped(to_x, pads),)


def _pixels_in_window(x: Array, kernel_size: Any, strides: Any, pads: Pads) -> Array:
    ones = _padded(np.ones((1, *x.shape[1:3], 1), x.dtype), pads)
    return np.asarray(sum(view for _, view in _views(ones, kernel_size, strides)))


def _avg_pool(x: Array, *, kernel_size: Any, strides: Any, padding: str, pads: Pads) -> Array:
    total = sum(view for _, view in _views(_padded(x, pads), kernel_size, strides))
    return np.asarray(total / _pixels_in_window(x, kernel_size, strides, pads))


def _avg_pool_grads(
    g: Array, y: Array, x: Array, *, kernel_size: Any, strides: Any, padding: str, pads: Pads
) -> Grads:
    to_x = np.zeros_like(_padded(x, pads))
    share = g / _pixels_in_window(x, kernel_size, strides, pads)
    for _, target in _views(to_x, kernel_size, strides):
        target += share
    return (_cropped(to_x, pads),)


def _lrn_parts(x: Array, depth_radius: int, bias: float, alpha: float) -> tuple[Array, Array]:
    """The channels that are near each other [C, C], and the normalizer's base."""
    channels = np.arange(x.shape[-1])
    near = (np.abs(channels[:, None] - channels) <= depth_radius).astype(x.dtype)
    return near, bias + alpha * (np.square(x) @ near)


def _lrn(x: Array, *, depth_radius: int, bias: float, alpha: float, beta: float) -> Array:
    return np.asarray(x * _lrn_parts(x, depth_radius, bias, alpha)[1] ** -beta)


def _lrn_grads(
    g: Array, y: Array, x: Array, *, depth_radius: int, bias: float, alpha: float, beta: float
) -> Grads:
    near, base = _lrn_parts(x, depth_radius, bias, alpha)
    through_base = (g * x * base ** (-beta - 1)) @ near
    return (g * base**-beta - 2 * alpha * beta * x * through_base,)


def _resize_matrices(x: Array, size: Any, nearest: bool) -> list[Array]:
    """For height and width: the weights [new size, old size] of old pixels in new ones."""
    matrices = []
    for new, old in zip(size, x.shape[1:3], strict=True):
        matrix = np.zeros((new, old), x.dtype)
        for row in range(new):
            at = (row + 0.5) * old / new
            if nearest:
                matrix[row, min(int(at), old - 1)] = 1
            else:
                at = max(at - 0.5, 0.0)
                low = int(at)
                matrix[row, low] += 1 - (at - low)
                matrix[row, min(low + 1, old - 1)] += at - low
        matrices.append(matrix)
    return matrices


def _resize(nearest: bool) -> Rule:
    def forward(x: Array, *, size: Any) -> Any:
        rows, columns = _resize_matrices(x, size, nearest)
        return np.einsum("yh,nhwc,xw->nyxc", rows, x, columns)

    def backward(g: Array, y: Array, x: Array, *, size: Any) -> Grads:
        rows, columns = _resize_matrices(x, size, nearest)
        return (np.einsum("yh,nyxc,xw->nhwc", rows, g, columns),)

    return Rule(forward, backward)


# ---- Batch normalization -------------------------------------------------------------------------


def batch_statistics(x: Array) -> tuple[Array, Array, int]:
    """Mean and biased variance per channel, and how many values they are taken over."""
    axes = tuple(range(x.ndim - 1))
    return x.mean(axis=axes), x.var(axis=axes), x.size // x.shape[-1]


def _batch_norm(
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    moving_mean: Array,
    moving_variance: Array,
    *,
    training: bool,
    epsilon: float,
    decay: float,
) -> Array:
    mean, variance = batch_statistics(x)[:2] if training else (moving_mean, moving_variance)
    y = (x - mean) / np.sqrt(variance + epsilon)
    y = y if gamma is None else y * gamma
    return np.asarray((y if beta is None else y + beta).astype(x.dtype))


def _batch_norm_grads(
    g: Array,
    y: Array,
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    moving_mean: Array,
    moving_variance: Array,
    *,
    training: bool,
    epsilon: float,
    decay: float,
) -> Grads:
    axes = tuple(range(x.ndim - 1))
    mean, variance = batch_statistics(x)[:2] if training else (moving_mean, moving_variance)
    stddev = np.sqrt(variance + epsilon)
    normal = (x - mean) / stddev
    to_normal = g if gamma is None else g * gamma
    to_x = to_normal
    if training:
        to_x = to_x - to_normal.mean(axis=axes) - normal * (to_normal * normal).mean(axis=axes)
    return (
        to_x / stddev,
        None if gamma is None else (g * normal).sum(axis=axes),
        None if beta is None else g.sum(axis=axes),
        None,
        None,
    )


# ---- Classification ------------------------------------------------------------------------------


def _log_softmax(x: Array) -> Array:
    shifted = x - x.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def _softmax(x: Array) -> Array:
    return np.asarray(np.exp(_log_softmax(x)))


def _at_labels(values: Array, labels: Array) -> Array:
    return np.take_along_axis(values, labels[..., None].astype(np.int64), axis=-1)[..., 0]


def _one_hot(labels: Array, depth: int, dtype: Any) -> Array:
    return np.asarray(labels[..., None] == np.arange(depth)).astype(dtype)


def _softmax_cross_entropy_grads(g: Array, y: Array, logits: Array, labels: Array) -> Grads:
    total = labels.sum(axis=-1, keepdims=True)
    return g[..., None] * (_softmax(logits) * total - labels), -g[..., None] * _log_softmax(logits)


def _sparse_grads(g: Array, y: Array, logits: Array, labels: Array) -> Grads:
    return (
        g[..., None] * (_softmax(logits) - _one_hot(labels, logits.shape[-1], logits.dtype)),
        None,
    )


def _sigmoid(x: Array) -> Array:
    return np.asarray(0.5 * (np.tanh(0.5 * x) + 1))


def _softplus(x: Array) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _dense(x: Array, weights: Array, bias: Array | None) -> Array:
    return np.asarray(x @ weights if bias is None else x @ weights + bias)


def _dense_grads(g: Array, y: Array, x: Array, weights: Array, bias: Array | None) -> Grads:
    axes = tuple(range(x.ndim - 1))
    return g @ weights.T, np.tensordot(x, g, (axes, axes)), _bias_grad(g, bias)


# ---- Shapes and reductions -----------------------------------------------------------------------


def _expanded(g: Array, x: Array, axes: Any, keepdims: bool) -> Array:
    """A reduced array with its dimensions back, of size 1."""
    return np.asarray(g if keepdims else np.expand_dims(g, axes))


def _reduction(function: Callable[..., Any], backward: Callable[..., Array]) -> Rule:
    def forward(x: Array, *, axes: Any, keepdims: bool) -> Any:
        return function(x, axis=axes, keepdims=keepdims)

    def grads(g: Array, y: Array, x: Array, *, axes: Any, keepdims: bool) -> Grads:
        g, y = _expanded(g, x, axes, keepdims), _expanded(y, x, axes, keepdims)
        return (np.broadcast_to(backward(g, y, x, axes), x.shape),)

    return Rule(forward, grads)


def _share_of_extreme(g: Array, y: Array, x: Array, axes: Any) -> Array:
    chosen = x == y
    return np.asarray(g * chosen / chosen.sum(axis=axes, keepdims=True))


def _concat_grads(g: Array, y: Array, *inputs: Array, axis: int) -> Grads:
    ends = np.cumsum([one.shape[axis] for one in inputs])[:-1]
    return tuple(np.split(g, ends, axis))


def _pad_grads(g: Array, y: Array, x: Array, *, paddings: Any, value: float) -> Grads:
    return (g[tuple(slice(b, b + size) for (b, _), size in zip(paddings, x.shape, strict=True))],)


def _slices(begin: Any, end: Any, strides: Any) -> tuple[slice, ...]:
    return tuple(slice(*one) for one in zip(begin, end, strides, strict=True))


def _slice_grads(g: Array, y: Array, x: Array, **attrs: Any) -> Grads:
    to_x = np.zeros_like(x)
    to_x[_slices(**attrs)] = g
    return (to_x,)


def _tile_grads(g: Array, y: Array, x: Array, *, multiples: Any) -> Grads:
    shape = [n for pair in zip(multiples, x.shape, strict=True) for n in pair]
    return (g.reshape(shape).sum(axis=tuple(range(0, 2 * x.ndim, 2))),)


def _gather_grads(g: Array, y: Array, table: Array, indices: Array) -> Grads:
    to_table = np.zeros_like(table)
    np.add.at(to_table, indices, g)
    return to_table, None


def _power_grads(g: Array, y: Array, a: Array, b: Array) -> Grads:
    log = np.log(np.where(a > 0, a, 1))
    return g * b * a ** (b - 1), g * y * log


def _comparison(function: Callable[..., Any]) -> Rule:
    return Rule(lambda a, b: function(a, b))


RULES: Mapping[str, Rule] = {
    "constant": Rule(lambda *, value, dtype: np.asarray(value, dtype)),
    # element by element
    "identity": Rule(lambda x: x, lambda g, y, x: (g,)),
    "stop_gradient": Rule(lambda x: x),
    "cast": Rule(
        lambda x, *, dtype: x.astype(dtype), lambda g, y, x, *, dtype: (g.astype(x.dtype),)
    ),
    "negative": Rule(np.negative, lambda g, y, x: (-g,)),
    "abs": Rule(np.abs, lambda g, y, x: (g * np.sign(x),)),
    "square": Rule(np.square, lambda g, y, x: (2 * g * x,)),
    "sqrt": Rule(np.sqrt, lambda g, y, x: (g / (2 * y),)),
    "rsqrt": Rule(lambda x: 1 / np.sqrt(x), lambda g, y, x: (-g * y / (2 * x),)),
    "exp": Rule(np.exp, lambda g, y, x: (g * y,)),
    "log": Rule(np.log, lambda g, y, x: (g / x,)),
    "relu": Rule(lambda x: np.maximum(x, 0), lambda g, y, x: (g * (x > 0),)),
    "relu6": Rule(lambda x: np.clip(x, 0, 6), lambda g, y, x: (g * ((x > 0) & (x < 6)),)),
    "sigmoid": Rule(_sigmoid, lambda g, y, x: (g * y * (1 - y),)),
    "tanh": Rule(np.tanh, lambda g, y, x: (g * (1 - y * y),)),
    "softplus": Rule(_softplus, lambda g, y, x: (g * _sigmoid(x),)),
    "elu": Rule(
        lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
        lambda g, y, x: (g * np.where(x > 0, 1, y + 1),),
    ),
    "leaky_relu": Rule(
        lambda x, *, alpha: np.where(x > 0, x, alpha * x),
        lambda g, y, x, *, alpha: (g * np.where(x > 0, 1, alpha),),
    ),
    "clip": Rule(
        lambda x, *, low, high: np.clip(x, low, high),
        lambda g, y, x, *, low, high: (g * ((x >= low) & (x <= high)),),
    ),
    "add": Rule(np.add, lambda g, y, a, b: (g, g)),
    "subtract": Rule(np.subtract, lambda g, y, a, b: (g, -g)),
    "multiply": Rule(np.multiply, lambda g, y, a, b: (g * b, g * a)),
    "divide": Rule(np.divide, lambda g, y, a, b: (g / b, -g * y / b)),
    "power": Rule(np.power, _power_grads),
    "maximum": Rule(np.maximum, lambda g, y, a, b: (g * (a >= b), g * (a < b))),
    "minimum": Rule(np.minimum, lambda g, y, a, b: (g * (a <= b), g * (a > b))),
    "equal": _comparison(np.equal),
    "not_equal": _comparison(np.not_equal),
    "less": _comparison(np.less),
    "less_equal": _comparison(np.less_equal),
    "greater": _comparison(np.greater),
    "greater_equal": _comparison(np.greater_equal),
    "logical_and": _comparison(np.logical_and),
    "logical_or": _comparison(np.logical_or),
    "where": Rule(np.where, lambda g, y, condition, a, b: (None, g * condition, g * ~condition)),
    # layers
    "conv2d": Rule(_conv2d, _conv2d_grads),
    "depthwise_conv2d": Rule(_depthwise, _depthwise_grads),
    "max_pool": Rule(_max_pool, _max_pool_grads),
    "avg_pool": Rule(_avg_pool, _avg_pool_grads),
    "dense": Rule(_dense, _dense_grads),
    "matmul": Rule(np.matmul, lambda g, y, a, b: (g @ b.T, a.T @ g)),
    "batch_norm": Rule(_batch_norm, _batch_norm_grads),
    "lrn": Rule(_lrn, _lrn_grads),
    "gather": Rule(lambda table, indices: table[indices], _gather_grads),
    "resize_bilinear": _resize(nearest=False),
    "resize_nearest": _resize(nearest=True),
    # shapes
    "reshape": Rule(
        lambda x, *, shape: x.reshape(shape), lambda g, y, x, *, shape: (g.reshape(x.shape),)
    ),
    "squeeze": Rule(
        lambda x, *, axes: np.squeeze(x, axes), lambda g, y, x, *, axes: (g.reshape(x.shape),)
    ),
    "expand_dims": Rule(
        lambda x, *, axis: np.expand_dims(x, axis), lambda g, y, x, *, axis: (g.reshape(x.shape),)
    ),
    "transpose": Rule(
        lambda x, *, axes: np.transpose(x, axes),
        lambda g, y, x, *, axes: (np.transpose(g, np.argsort(axes)),),
    ),
    "concat": Rule(lambda *x, axis: np.concatenate(x, axis), _concat_grads),
    "pad": Rule(
        lambda x, *, paddings, value: np.pad(x, paddings, constant_values=value), _pad_grads
    ),
    "slice": Rule(lambda x, **attrs: x[_slices(**attrs)], _slice_grads),
    "tile": Rule(lambda x, *, multiples: np.tile(x, multiples), _tile_grads),
    # reductions
    "reduce_sum": _reduction(np.sum, lambda g, y, x, axes: g),
    "reduce_mean": _reduction(np.mean, lambda g, y, x, axes: g * y.size / x.size),
    "reduce_max": _reduction(np.max, _share_of_extreme),
    "reduce_min": _reduction(np.min, _share_of_extreme),
    "l2_loss": Rule(lambda x: np.square(x).sum() / 2, lambda g, y, x: (g * x,)),
    "l1_loss": Rule(lambda x: np.abs(x).sum(), lambda g, y, x: (g * np.sign(x),)),
    "argmax": Rule(lambda x, *, axis: x.argmax(axis)),
    "one_hot": Rule(lambda labels, *, depth, dtype: _one_hot(labels, depth, dtype)),
    # classification
    "softmax": Rule(_softmax, lambda g, y, x: (y * (g - (g * y).sum(axis=-1, keepdims=True)),)),
    "log_softmax": Rule(
        _log_softmax, lambda g, y, x: (g - np.exp(y) * g.sum(axis=-1, keepdims=True),)
    ),
    "softmax_cross_entropy": Rule(
        lambda logits, labels: -(labels * _log_softmax(logits)).sum(axis=-1),
        _softmax_cross_entropy_grads,
    ),
    "sparse_softmax_cross_entropy": Rule(
        lambda logits, labels: -_at_labels(_log_softmax(logits), labels), _sparse_grads
    ),
    "sigmoid_cross_entropy": Rule(
        lambda logits, labels: _softplus(logits) - logits * labels,
        lambda g, y, logits, labels: (g * (_sigmoid(logits) - labels), -g * logits),
    ),
    "in_top_k": Rule(
        lambda logits, labels, *, k: (logits > _at_labels(logits, labels)[..., None]).sum(-1) < k
    ),
}
"""Name of the operation -> rule; without `input`, `variable`, and `dropout`, which is random."""


def evaluate(targets: Iterable[Tensor], given: Mapping[Tensor, Array]) -> dict[Tensor, Array]:
    """Computes tensors of a neutral graph.

    Args:
        targets: what is wanted.
        given: the values of inputs and variables.

    Returns:
        Tensor -> value, of `targets` and all that they need.
    """
    return lower(
        targets,
        given,
        lambda tensor, inputs: np.asarray(RULES[tensor.op].forward(*inputs, **tensor.attrs)),
    )
