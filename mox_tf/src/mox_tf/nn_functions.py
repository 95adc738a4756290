"""The operations of `mox_core.nn` as nodes of a TensorFlow graph: the table of the lowering.

All is NHWC, as in neutral graphs; on GPUs TensorFlow's own optimizer changes what runs faster in
another layout. Where the fast kernels do not know float64, which only tests compute in, or a CPU
lacks a gradient, the same is written with other operations.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mox_tf.tf1 import tf

__all__ = ["TABLE", "batch_norm", "normalized"]

Pads = tuple[tuple[int, int], tuple[int, int]]
Pair = tuple[int, int]
Function = Callable[..., Any]

_LEAST_FUSED_EPSILON = 1.001e-5  # the fused kernel takes no less
_FUSED_DTYPES = (tf.float32,)


# ---- Convolutions --------------------------------------------------------------------------------


def _padding(padding: str, pads: Pads) -> Any:
    """The padding argument of TensorFlow's operations on images."""
    return [(0, 0), *pads, (0, 0)] if padding == "EXPLICIT" else padding


def _padded(x: Any, pads: Pads, value: float = 0.0) -> Any:
    if not any(map(any, pads)):
        return x
    return tf.pad(x, [(0, 0), *pads, (0, 0)], constant_values=value)


def _biased(x: Any, bias: Any) -> Any:
    return x if bias is None else tf.nn.bias_add(x, bias)


def _conv2d(
    x: Any,
    weights: Any,
    bias: Any = None,
    *,
    strides: Pair,
    padding: str,
    pads: Pads,
    dilations: Pair,
    groups: int,
) -> Any:
    if dilations != (1, 1):
        # Gradients know no explicit padding beside dilation.
        x, padding, pads = _padded(x, pads), "VALID", ((0, 0), (0, 0))
    if groups == 1 or _cpu_has_gradients(x.dtype.base_dtype.name):
        y = _plain_conv2d(x, weights, strides, _padding(padding, pads), dilations)
        return _biased(y, bias)
    parts = [
        _plain_conv2d(part, kernel, strides, _padding(padding, pads), dilations)
        for part, kernel in zip(
            tf.split(x, groups, axis=3), tf.split(weights, groups, axis=3), strict=True
        )
    ]
    return _biased(tf.concat(parts, axis=3), bias)


def _plain_conv2d(x: Any, weights: Any, strides: Pair, padding: Any, dilations: Pair) -> Any:
    if dilations != (1, 1) and not _cpu_has_gradients(x.dtype.base_dtype.name):
        return tf.nn.convolution(x, weights, padding, strides=strides, dilation_rate=dilations)
    return tf.nn.conv2d(x, weights, strides=strides, padding=padding, dilations=dilations)


@functools.cache
def _cpu_has_gradients(dtype: str) -> bool:
    """Whether CPUs have gradients of grouped and dilated convolutions; that is up to oneDNN."""
    graph = tf.Graph()
    with graph.as_default(), tf.device("/cpu:0"):
        x, kernel = tf.zeros((1, 5, 5, 2), dtype), tf.zeros((3, 3, 1, 2), dtype)
        y = tf.nn.conv2d(x, kernel, strides=1, padding="VALID", dilations=2)
        gradients = tf.gradients(y, [x, kernel])
    # Without GPUs, of which a session would take the memory.
    with tf.Session(graph=graph, config=tf.ConfigProto(device_count={"GPU": 0})) as session:
        try:
            session.run(gradients)
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
            return False
    return True


def _depthwise_conv2d(
    x: Any,
    weights: Any,
    bias: Any = None,
    *,
    strides: Pair,
    padding: str,
    pads: Pads,
    dilations: Pair,
) -> Any:
    # The kernel knows equal strides only.
    step = strides[0] if strides[0] == strides[1] else 1
    if step != strides[0] or dilations != (1, 1):
        x, padding, pads = _padded(x, pads), "VALID", ((0, 0), (0, 0))
    y = tf.nn.depthwise_conv2d(
        x,
        weights,
        strides=(1, step, step, 1),
        padding=_padding(padding, pads),
        dilations=dilations,
    )
    if step != strides[0] or step != strides[1]:
        y = y[:, :: strides[0], :: strides[1]]
    return _biased(y, bias)


# ---- Pooling and other layers on images ----------------------------------------------------------


def _max_pool(x: Any, *, kernel_size: Pair, strides: Pair, padding: str, pads: Pads) -> Any:
    return tf.nn.max_pool2d(x, ksize=kernel_size, strides=strides, padding=_padding(padding, pads))


def _avg_pool(x: Any, *, kernel_size: Pair, strides: Pair, padding: str, pads: Pads) -> Any:
    if padding != "EXPLICIT":
        return tf.nn.avg_pool2d(x, ksize=kernel_size, strides=strides, padding=padding)
    means = tf.nn.avg_pool2d(_padded(x, pads), ksize=kernel_size, strides=strides, padding="VALID")
    # The means count the padding too.
    inside = [
        _shares_inside(size, kernel, stride, before, after)
        for size, kernel, stride, (before, after) in zip(
            x.shape.as_list()[1:3], kernel_size, strides, pads, strict=True
        )
    ]
    shares = np.multiply.outer(*inside)[None, :, :, None]
    return means / tf.constant(shares, x.dtype.base_dtype)


def _shares_inside(size: int, kernel: int, stride: int, before: int, after: int) -> Any:
    """Which share of each window along one axis is image, not padding."""
    image = np.pad(np.ones(size), (before, after))
    windows = np.lib.stride_tricks.sliding_window_view(image, kernel)[::stride]
    return windows.mean(axis=1)


def _lrn(x: Any, *, depth_radius: int, bias: float, alpha: float, beta: float) -> Any:
    if x.dtype.base_dtype != tf.float64:
        return tf.nn.lrn(x, depth_radius, bias=bias, alpha=alpha, beta=beta)
    channels = np.arange(x.shape.as_list()[-1])
    near = np.abs(channels[:, None] - channels) <= depth_radius
    sums = tf.tensordot(tf.square(x), tf.constant(near, tf.float64), 1)
    return x * tf.pow(bias + alpha * sums, -beta)


def _resize_bilinear(x: Any, *, size: Pair) -> Any:
    if x.dtype.base_dtype != tf.float64:
        resized = tf.image.resize_bilinear(x, size, half_pixel_centers=True)
        return tf.cast(resized, x.dtype.base_dtype)
    rows, columns = (
        tf.constant(_bilinear(new, old))
        for new, old in zip(size, x.shape.as_list()[1:3], strict=True)
    )
    return tf.einsum("yh,nhwc,xw->nyxc", rows, x, columns)


def _bilinear(new: int, old: int) -> Any:
    """The weights [new, old] of old pixels in new ones."""
    places = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    return np.maximum(1 - np.abs(places[:, None] - np.arange(old)), 0.0)


def _resize_nearest(x: Any, *, size: Pair) -> Any:
    return tf.image.resize_nearest_neighbor(x, size, half_pixel_centers=True)


# ---- Batch normalization -------------------------------------------------------------------------


def normalized(
    x: Any,
    gamma: Any,
    beta: Any,
    moving_mean: Any,
    moving_variance: Any,
    *,
    training: bool,
    epsilon: float,
    decay: float,
) -> tuple[Any, Any, Any]:
    """Normalizes a batch.

    Returns:
        The result; and in training the mean and the unbiased variance of the batch, else None.
    """
    dtype, channels = x.dtype.base_dtype, x.shape.as_list()[-1]
    if dtype in _FUSED_DTYPES and epsilon >= _LEAST_FUSED_EPSILON:
        image = x if x.shape.rank == 4 else tf.reshape(x, (-1, 1, 1, channels))
        y, mean, variance = tf.nn.fused_batch_norm(
            image,
            tf.ones((channels,), dtype) if gamma is None else gamma,
            tf.zeros((channels,), dtype) if beta is None else beta,
            None if training else moving_mean,
            None if training else moving_variance,
            epsilon=epsilon,
            is_training=training,
        )
        if image is not x:
            y = tf.reshape(y, [-1, *x.shape.as_list()[1:]])
        return (y, mean, variance) if training else (y, None, None)
    if not training:
        y = tf.nn.batch_normalization(x, moving_mean, moving_variance, beta, gamma, epsilon)
        return y, None, None
    mean, variance = tf.nn.moments(x, list(range(x.shape.rank - 1)))
    y = tf.nn.batch_normalization(x, mean, variance, beta, gamma, epsilon)
    count = tf.cast(tf.size(x) // channels, dtype)
    return y, mean, variance * count / tf.maximum(count - 1, 1)


def batch_norm(
    x: Any,
    gamma: Any,
    beta: Any,
    moving_mean: Any,
    moving_variance: Any,
    *,
    training: bool,
    epsilon: float,
    decay: float,
) -> Any:
    """Normalizes a batch; moves no averages."""
    options = {"training": training, "epsilon": epsilon, "decay": decay}
    return normalized(x, gamma, beta, moving_mean, moving_variance, **options)[0]


# ---- All others ----------------------------------------------------------------------------------


def _dense(x: Any, weights: Any, bias: Any = None) -> Any:
    if x.shape.rank == 2:
        return _biased(tf.matmul(x, weights), bias)
    rows = tf.reshape(x, (-1, x.shape.as_list()[-1]))
    sizes = [-1, *x.shape.as_list()[1:-1], weights.shape.as_list()[1]]
    return tf.reshape(_biased(tf.matmul(rows, weights), bias), sizes)


def _dropout(x: Any, *, keep_prob: float) -> Any:
    return tf.nn.dropout(x, rate=1.0 - keep_prob)


def _gather(table: Any, indices: Any) -> Any:
    # Behind a reshape the gradient is dense: a sparse one would leave the velocities, and all
    # else that optimizers keep, of the other rows as they are.
    return tf.gather(tf.reshape(table, table.shape), _as_indices(indices))


def _as_indices(labels: Any) -> Any:
    known = labels.dtype.base_dtype in (tf.int32, tf.int64)
    return labels if known else tf.cast(labels, tf.int32)


def _clip(x: Any, *, low: float, high: float) -> Any:
    return tf.clip_by_value(x, low, high)


def _leaky_relu(x: Any, *, alpha: float) -> Any:
    if x.dtype.base_dtype != tf.float64:
        return tf.nn.leaky_relu(x, alpha)
    return tf.where_v2(x > 0, x, alpha * x)  # the kernel's alpha is a float32


def _cast(x: Any, *, dtype: str) -> Any:
    return tf.cast(x, dtype)


def _reshape(x: Any, *, shape: Sequence[int]) -> Any:
    return tf.reshape(x, shape)


def _squeeze(x: Any, *, axes: tuple[int, ...]) -> Any:
    # No axes would mean all of size 1 to TensorFlow.
    return tf.squeeze(x, axes) if axes else tf.identity(x)


def _expand_dims(x: Any, *, axis: int) -> Any:
    return tf.expand_dims(x, axis)


def _transpose(x: Any, *, axes: tuple[int, ...]) -> Any:
    return tf.transpose(x, axes)


def _concat(*x: Any, axis: int) -> Any:
    return tf.concat(x, axis)


def _pad(x: Any, *, paddings: Sequence[Pair], value: float) -> Any:
    return tf.pad(x, paddings, constant_values=tf.cast(value, x.dtype.base_dtype))


def _slice(
    x: Any, *, begin: Sequence[int], end: Sequence[int | None], strides: Sequence[int]
) -> Any:
    return x[tuple(map(slice, begin, end, strides))]


def _tile(x: Any, *, multiples: Sequence[int]) -> Any:
    return tf.tile(x, multiples)


def _reduced(function: Function) -> Function:
    def reduced(x: Any, *, axes: tuple[int, ...], keepdims: bool) -> Any:
        return function(x, axis=axes, keepdims=keepdims)

    return reduced


def _l1_loss(x: Any) -> Any:
    return tf.reduce_sum(tf.abs(x))


def _argmax(x: Any, *, axis: int) -> Any:
    return tf.argmax(x, axis)


def _one_hot(labels: Any, *, depth: int, dtype: str) -> Any:
    return tf.one_hot(_as_indices(labels), depth, dtype=dtype)


def _softmax(x: Any) -> Any:
    return tf.nn.softmax(x)


def _log_softmax(x: Any) -> Any:
    return tf.nn.log_softmax(x)


def _softmax_cross_entropy(logits: Any, labels: Any) -> Any:
    return tf.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=logits)


def _sparse_softmax_cross_entropy(logits: Any, labels: Any) -> Any:
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=_as_indices(labels), logits=logits)


def _sigmoid_cross_entropy(logits: Any, labels: Any) -> Any:
    return tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)


def _in_top_k(logits: Any, labels: Any, *, k: int) -> Any:
    chosen = tf.one_hot(_as_indices(labels), logits.shape.as_list()[-1], True, False, dtype=tf.bool)
    lowest = logits.dtype.base_dtype.min
    own = tf.reduce_max(tf.where_v2(chosen, logits, lowest), axis=-1, keepdims=True)
    return tf.reduce_sum(tf.cast(logits > own, tf.int32), axis=-1) < k


def _constant(*, value: Any, dtype: str) -> Any:
    return tf.constant(value, dtype)


def _unary(function: Function) -> Function:
    return lambda x: function(x)


def _binary(function: Function) -> Function:
    return lambda a, b: function(a, b)


TABLE: Mapping[str, Function] = {
    "abs": _unary(tf.abs),
    "add": _binary(tf.add),
    "argmax": _argmax,
    "avg_pool": _avg_pool,
    "batch_norm": batch_norm,
    "cast": _cast,
    "clip": _clip,
    "concat": _concat,
    "constant": _constant,
    "conv2d": _conv2d,
    "dense": _dense,
    "depthwise_conv2d": _depthwise_conv2d,
    "divide": _binary(tf.realdiv),
    "dropout": _dropout,
    "elu": _unary(tf.nn.elu),
    "equal": _binary(tf.equal),
    "exp": _unary(tf.exp),
    "expand_dims": _expand_dims,
    "gather": _gather,
    "greater": _binary(tf.greater),
    "greater_equal": _binary(tf.greater_equal),
    "identity": _unary(tf.identity),
    "in_top_k": _in_top_k,
    "l1_loss": _l1_loss,
    "l2_loss": _unary(tf.nn.l2_loss),
    "leaky_relu": _leaky_relu,
    "less": _binary(tf.less),
    "less_equal": _binary(tf.less_equal),
    "log": _unary(tf.log),
    "log_softmax": _log_softmax,
    "logical_and": _binary(tf.logical_and),
    "logical_or": _binary(tf.logical_or),
    "lrn": _lrn,
    "matmul": _binary(tf.matmul),
    "max_pool": _max_pool,
    "maximum": _binary(tf.maximum),
    "minimum": _binary(tf.minimum),
    "multiply": _binary(tf.multiply),
    "negative": _unary(tf.negative),
    "not_equal": _binary(tf.not_equal),
    "one_hot": _one_hot,
    "pad": _pad,
    "power": _binary(tf.pow),
    "reduce_max": _reduced(tf.reduce_max),
    "reduce_mean": _reduced(tf.reduce_mean),
    "reduce_min": _reduced(tf.reduce_min),
    "reduce_sum": _reduced(tf.reduce_sum),
    "relu": _unary(tf.nn.relu),
    "relu6": _unary(tf.nn.relu6),
    "reshape": _reshape,
    "resize_bilinear": _resize_bilinear,
    "resize_nearest": _resize_nearest,
    "rsqrt": _unary(tf.rsqrt),
    "sigmoid": _unary(tf.sigmoid),
    "sigmoid_cross_entropy": _sigmoid_cross_entropy,
    "slice": _slice,
    "softmax": _softmax,
    "softmax_cross_entropy": _softmax_cross_entropy,
    "softplus": _unary(tf.nn.softplus),
    "sparse_softmax_cross_entropy": _sparse_softmax_cross_entropy,
    "sqrt": _unary(tf.sqrt),
    "square": _unary(tf.square),
    "squeeze": _squeeze,
    "stop_gradient": _unary(tf.stop_gradient),
    "subtract": _binary(tf.subtract),
    "tanh": _unary(tf.tanh),
    "tile": _tile,
    "transpose": _transpose,
    "where": lambda condition, a, b: tf.where_v2(condition, a, b),
}
"""Name of the operation -> function; without `input` and `variable`."""
