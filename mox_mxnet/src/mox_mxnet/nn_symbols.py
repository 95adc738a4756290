"""The operations of `mox_core.nn` as MXNet symbols: what a graph is lowered to.

`TABLE` has them all, on tensors in their logical layout (images NHWC, kernels HWIO).
`CHANNELS_FIRST` has those on images once more, on NCHW images and OIHW kernels, which is what
MXNet computes in.

MXNet's symbols differ from neutral tensors in two ways. They have no rank 0: scalars have the
shape (1,) here. And they have no bool to compute with: it is float32, with the values 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from mox_mxnet.importing import load

__all__ = ["CHANNELS_FIRST", "ELEMENTWISE", "TABLE", "TRAINING_NORM", "Value", "native_dtype"]

sym = load().sym

Pads = tuple[tuple[int, int], tuple[int, int]]
Pair = tuple[int, int]
Symbol = Any


class Value(NamedTuple):
    """A symbol, and what the graph knows of it.

    Args:
        symbol: MXNet's.
        shape: in the layout that the symbol has; None: the batch.
        dtype: the neutral one.
        number: of a constant without dimensions.
    """

    symbol: Symbol
    shape: tuple[int | None, ...]
    dtype: str
    number: float | None = None

    @property
    def rank(self) -> int:
        """How many dimensions the neutral tensor has."""
        return len(self.shape)


def native_dtype(dtype: str) -> str:
    """MXNet's name for a neutral dtype."""
    return "float32" if dtype == "bool" else dtype


def _sizes(shape: Sequence[int | None]) -> tuple[int, ...]:
    """A shape as `Reshape` wants it."""
    return tuple(-1 if size is None else size for size in shape) or (1,)


def _reshaped(symbol: Symbol, shape: Sequence[int | None]) -> Symbol:
    return sym.Reshape(symbol, shape=_sizes(shape))


# ---- Images, channels first ----------------------------------------------------------------------


def _conv2d(
    x: Value,
    weights: Value,
    bias: Value | None = None,
    *,
    strides: Pair,
    padding: str,
    pads: Pads,
    dilations: Pair,
    groups: int,
) -> Symbol:
    (top, bottom), (left, right) = pads
    symbol, pad = x.symbol, (top, left)
    if top != bottom or left != right:
        symbol, pad = _padded(symbol, pads, 0.0), (0, 0)
    outputs, _, *kernel = weights.shape
    return sym.Convolution(
        symbol,
        weights.symbol,
        *([] if bias is None else [bias.symbol]),
        no_bias=bias is None,
        kernel=tuple(kernel),
        stride=strides,
        dilate=dilations,
        pad=pad,
        num_filter=outputs,
        num_group=groups,
    )


def _padded(images: Symbol, pads: Pads, value: float) -> Symbol:
    width = (0, 0, 0, 0, *pads[0], *pads[1])
    return sym.Pad(images, mode="constant", constant_value=value, pad_width=width)


def _depthwise_conv2d(
    x: Value,
    weights: Value,
    bias: Value | None = None,
    *,
    strides: Pair,
    padding: str,
    pads: Pads,
    dilations: Pair,
) -> Symbol:
    groups = x.shape[1]
    assert groups is not None
    return _conv2d(
        x,
        weights,
        bias,
        strides=strides,
        padding=padding,
        pads=pads,
        dilations=dilations,
        groups=groups,
    )


def _pooling(symbol: Symbol, kind: str, kernel_size: Pair, strides: Pair, **options: Any) -> Symbol:
    return sym.Pooling(
        symbol,
        pool_type=kind,
        kernel=kernel_size,
        stride=strides,
        count_include_pad=False,
        **options,
    )


def _pad_options(x: Value, kernel_size: Pair, strides: Pair, pads: Pads) -> dict[str, Any] | None:
    """How MXNet's pooling says this padding without a copy; None: it cannot."""
    (top, bottom), (left, right) = pads
    small = 2 * top <= kernel_size[0] and 2 * left <= kernel_size[1]
    if (top, left) == (bottom, right) and small:
        return {"pad": (top, left)}
    for length, k, step, (before, after) in zip(
        x.shape[2:], kernel_size, strides, pads, strict=True
    ):
        assert length is not None
        wanted = (length + before + after - k) // step + 1
        rounded_up = -(-(length - k) // step) + 1
        if before or length < k or wanted != rounded_up or (rounded_up - 1) * step >= length:
            return None
    return {"pooling_convention": "full"}


def _max_pool(x: Value, *, kernel_size: Pair, strides: Pair, padding: str, pads: Pads) -> Symbol:
    options = _pad_options(x, kernel_size, strides, pads)
    symbol = x.symbol if options is not None else _padded(x.symbol, pads, -math.inf)
    return _pooling(symbol, "max", kernel_size, strides, **(options or {}))


def _avg_pool(x: Value, *, kernel_size: Pair, strides: Pair, padding: str, pads: Pads) -> Symbol:
    options = _pad_options(x, kernel_size, strides, pads)
    if options is not None:
        return _pooling(x.symbol, "avg", kernel_size, strides, **options)
    one = sym.slice(x.symbol, begin=(0, 0, 0, 0), end=(1, 1, None, None))
    inside = _padded(sym.ones_like(one), pads, 0.0)
    means = _pooling(_padded(x.symbol, pads, 0.0), "avg", kernel_size, strides)
    return sym.broadcast_div(means, _pooling(inside, "avg", kernel_size, strides))


def _norm_symbol(x: Value, others: Sequence[Value | None], **options: Any) -> Symbol:
    """BatchNorm over axis 1 of x, or the last one."""
    gamma, beta, *averages = (None if one is None else one.symbol for one in others)
    # The graph's builder puts ones and zeros in the place of what is left out.
    axis = 1 if x.rank in (2, 4) else x.rank - 1
    return sym.BatchNorm(x.symbol, gamma, beta, *averages, axis=axis, fix_gamma=False, **options)


def _batch_norm(
    x: Value,
    gamma: Value | None,
    beta: Value | None,
    moving_mean: Value | None,
    moving_variance: Value | None,
    *,
    training: bool,
    epsilon: float,
    decay: float,
) -> Symbol:
    others = (gamma, beta, moving_mean, moving_variance)
    if training:
        return TRAINING_NORM(x, *others, epsilon=epsilon)[0]
    return _norm_symbol(x, others, eps=epsilon, use_global_stats=True)


def TRAINING_NORM(  # noqa: N802
    x: Value, *others: Value | None, epsilon: float
) -> tuple[Symbol, Symbol, Symbol]:
    """Normalizes with the batch's own statistics.

    Returns:
        The result, the batch's mean, and its biased variance.
    """
    made = _norm_symbol(x, others, eps=epsilon, momentum=1.0, output_mean_var=True)
    # MXNet's third output is 1 / sqrt(variance + epsilon).
    return made[0], made[1], made[2] ** -2.0 - epsilon


def _lrn(x: Value, *, depth_radius: int, bias: float, alpha: float, beta: float) -> Symbol:
    size = 2 * depth_radius + 1
    if x.dtype == "float32":
        return sym.LRN(x.symbol, nsize=size, alpha=alpha * size, beta=beta, knorm=bias)
    # MXNet's LRN has no other dtype.
    channels = x.shape[1]
    assert channels is not None
    squares = sym.square(x.symbol)
    sums = [
        sym.sum(
            sym.slice_axis(
                squares,
                axis=1,
                begin=max(0, place - depth_radius),
                end=min(channels, place + depth_radius + 1),
            ),
            axis=1,
            keepdims=True,
        )
        for place in range(channels)
    ]
    return x.symbol * (sym.Concat(*sums, dim=1) * alpha + bias) ** -beta


def _resize_bilinear(x: Value, *, size: Pair) -> Symbol:
    if x.dtype == "float32":
        return sym.contrib.BilinearResize2D(
            x.symbol, height=size[0], width=size[1], align_corners=False
        )
    # MXNet computes its weights in float32.
    symbol = x.symbol
    for axis, (length, wanted) in enumerate(zip(x.shape[2:], size, strict=True), start=2):
        assert length is not None
        places = sym.maximum(_centers(length, wanted) - 0.5, 0.0)
        below = sym.floor(places)
        share = sym.Reshape(places - below, shape=(1, 1, -1, 1) if axis == 2 else (1, 1, 1, -1))
        first, second = (
            sym.take(symbol, one, axis=axis, mode="clip") for one in (below, below + 1)
        )
        symbol = first + sym.broadcast_mul(second - first, share)
    return symbol


def _resize_nearest(x: Value, *, size: Pair) -> Symbol:
    symbol = x.symbol
    for axis, (length, wanted) in enumerate(zip(x.shape[2:], size, strict=True), start=2):
        assert length is not None
        places = sym.floor(_centers(length, wanted))
        symbol = sym.take(symbol, places, axis=axis, mode="clip")
    return symbol


def _centers(length: int, wanted: int) -> Symbol:
    """Where the centers of `wanted` pixels lie on a row of `length`, measured from its edge."""
    return (sym.arange(0, wanted, dtype="float64") + 0.5) * (length / wanted)


CHANNELS_FIRST: Mapping[str, Callable[..., Symbol]] = {
    "avg_pool": _avg_pool,
    "batch_norm": _batch_norm,
    "conv2d": _conv2d,
    "depthwise_conv2d": _depthwise_conv2d,
    "lrn": _lrn,
    "max_pool": _max_pool,
    "resize_bilinear": _resize_bilinear,
    "resize_nearest": _resize_nearest,
}


def channels_first(x: Value) -> Value:
    """NHWC -> NCHW."""
    shape = (x.shape[0], x.shape[3], *x.shape[1:3])
    return Value(sym.transpose(x.symbol, axes=(0, 3, 1, 2)), shape, x.dtype)


def kernel(weights: Value) -> Value:
    """HWIO -> OIHW."""
    height, width, inputs, outputs = weights.shape
    symbol = sym.transpose(weights.symbol, axes=(3, 2, 0, 1))
    return Value(symbol, (outputs, inputs, height, width), weights.dtype)


def depthwise_kernel(weights: Value) -> Value:
    """[height, width, channels, multiplier] -> [channels * multiplier, 1, height, width]."""
    height, width, channels, multiplier = weights.shape
    assert channels is not None and multiplier is not None
    shape = (channels * multiplier, 1, height, width)
    symbol = sym.transpose(weights.symbol, axes=(2, 3, 0, 1))
    return Value(_reshaped(symbol, shape), shape, weights.dtype)


def _on_nhwc(function: Callable[..., Symbol]) -> Callable[..., Symbol]:
    def on_nhwc(x: Value, *others: Any, **attrs: Any) -> Symbol:
        made = function(channels_first(x), *others, **attrs)
        return sym.transpose(made, axes=(0, 2, 3, 1))

    return on_nhwc


def _conv2d_nhwc(x: Value, weights: Value, bias: Value | None = None, **attrs: Any) -> Symbol:
    return _on_nhwc(_conv2d)(x, kernel(weights), bias, **attrs)


def _depthwise_nhwc(x: Value, weights: Value, bias: Value | None = None, **attrs: Any) -> Symbol:
    return _on_nhwc(_depthwise_conv2d)(x, depthwise_kernel(weights), bias, **attrs)


def _batch_norm_last(x: Value, *others: Any, **attrs: Any) -> Symbol:
    return (_on_nhwc(_batch_norm) if x.rank == 4 else _batch_norm)(x, *others, **attrs)


# ---- Element by element --------------------------------------------------------------------------


def _unary(function: Callable[[Symbol], Symbol]) -> Callable[[Value], Symbol]:
    return lambda x: function(x.symbol)


def _binary(
    function: Callable[[Symbol, Any], Symbol],
    broadcasting: Callable[[Symbol, Symbol], Symbol],
    reverse: Callable[[Any, Symbol], Symbol] | None = None,
) -> Callable[[Value, Value], Symbol]:
    """Arguments: on equal shapes and numbers; on others; a number on the left."""

    def binary(a: Value, b: Value) -> Symbol:
        if b.number is not None and a.number is None:
            return function(a.symbol, b.number)
        if a.number is not None and b.number is None:
            return (reverse or function)(
                *((a.number, b.symbol) if reverse else (b.symbol, a.number))
            )
        if a.shape == b.shape:
            return function(a.symbol, b.symbol)
        return broadcasting(a.symbol, b.symbol)

    return binary


def _comparison(
    function: Callable[[Symbol, Any], Symbol],
    broadcasting: Callable[[Symbol, Symbol], Symbol],
    turned: Callable[[Symbol, Any], Symbol],
) -> Callable[[Value, Value], Symbol]:
    binary = _binary(function, broadcasting, lambda number, symbol: turned(symbol, number))

    def comparison(a: Value, b: Value) -> Symbol:
        return _as_bool(binary(a, b), a.dtype)

    return comparison


def _as_bool(symbol: Symbol, dtype: str) -> Symbol:
    """A comparison's result, which MXNet gives in the dtype of what was compared."""
    return symbol if native_dtype(dtype) == "float32" else sym.Cast(symbol, dtype="float32")


def _cast(x: Value, *, dtype: str) -> Symbol:
    symbol, native = x.symbol, native_dtype(dtype)
    if dtype == "bool" and x.dtype != "bool":
        return _as_bool(symbol != 0, x.dtype)
    return symbol if native_dtype(x.dtype) == native else sym.Cast(symbol, dtype=native)


def _clip(x: Value, *, low: float, high: float) -> Symbol:
    if x.dtype == "float32":
        return sym.clip(x.symbol, a_min=low, a_max=high)
    # Attributes of MXNet's clip are float32.
    return sym.minimum(sym.maximum(x.symbol, low), high)


def _dropout(x: Value, *, keep_prob: float) -> Symbol:
    return sym.Dropout(x.symbol, p=1.0 - keep_prob, mode="always")


def _elu(x: Value) -> Symbol:
    return sym.LeakyReLU(x.symbol, act_type="elu", slope=1.0)


def _leaky_relu(x: Value, *, alpha: float) -> Symbol:
    if x.dtype == "float32":
        return sym.LeakyReLU(x.symbol, act_type="leaky", slope=alpha)
    # As in clip, the attribute is float32.
    return sym.relu(x.symbol) - sym.relu(-x.symbol) * alpha


def _relu6(x: Value) -> Symbol:
    # Not clip, which costs a change of layout before and after.
    return sym.minimum(sym.Activation(x.symbol, act_type="relu"), 6.0)


def _activation(kind: str) -> Callable[[Value], Symbol]:
    return lambda x: sym.Activation(x.symbol, act_type=kind)


def _where(condition: Value, a: Value, b: Value) -> Symbol:
    if not condition.shape == a.shape == b.shape:
        zeros = [sym.zeros_like(one.symbol) for one in (condition, a, b)]
        zeros = [sym.Cast(zeros[0], dtype=native_dtype(a.dtype)), *zeros[1:]]
        everywhere = sym.broadcast_add(sym.broadcast_add(zeros[0], zeros[1]), zeros[2])
        flags = sym.Cast(everywhere, dtype="float32")
        return sym.where(
            sym.broadcast_add(condition.symbol, flags),
            sym.broadcast_add(a.symbol, everywhere),
            sym.broadcast_add(b.symbol, everywhere),
        )
    return sym.where(condition.symbol, a.symbol, b.symbol)


ELEMENTWISE: Mapping[str, Callable[..., Symbol]] = {
    "abs": _unary(sym.abs),
    "add": _binary(lambda a, b: a + b, sym.broadcast_add),
    "cast": _cast,
    "clip": _clip,
    "divide": _binary(lambda a, b: a / b, sym.broadcast_div, lambda a, b: a / b),
    "dropout": _dropout,
    "elu": _elu,
    "equal": _comparison(lambda a, b: a == b, sym.broadcast_equal, lambda a, b: a == b),
    "exp": _unary(sym.exp),
    "greater": _comparison(lambda a, b: a > b, sym.broadcast_greater, lambda a, b: a < b),
    "greater_equal": _comparison(
        lambda a, b: a >= b, sym.broadcast_greater_equal, lambda a, b: a <= b
    ),
    "identity": _unary(sym.identity),
    "leaky_relu": _leaky_relu,
    "less": _comparison(lambda a, b: a < b, sym.broadcast_lesser, lambda a, b: a > b),
    "less_equal": _comparison(lambda a, b: a <= b, sym.broadcast_lesser_equal, lambda a, b: a >= b),
    "log": _unary(sym.log),
    "logical_and": lambda a, b: sym.broadcast_logical_and(a.symbol, b.symbol),
    "logical_or": lambda a, b: sym.broadcast_logical_or(a.symbol, b.symbol),
    "maximum": _binary(sym.maximum, sym.broadcast_maximum),
    "minimum": _binary(sym.minimum, sym.broadcast_minimum),
    "multiply": _binary(lambda a, b: a * b, sym.broadcast_mul),
    "negative": _unary(sym.negative),
    "not_equal": _comparison(lambda a, b: a != b, sym.broadcast_not_equal, lambda a, b: a != b),
    "power": _binary(lambda a, b: a**b, sym.broadcast_power, lambda a, b: a**b),
    "relu": _activation("relu"),
    "relu6": _relu6,
    "rsqrt": _unary(sym.rsqrt),
    "sigmoid": _activation("sigmoid"),
    "softplus": _activation("softrelu"),
    "sqrt": _unary(sym.sqrt),
    "square": _unary(sym.square),
    "stop_gradient": _unary(sym.BlockGrad),
    "subtract": _binary(lambda a, b: a - b, sym.broadcast_sub, lambda a, b: a - b),
    "tanh": _activation("tanh"),
    "where": _where,
}
"""The same in every layout, as long as all operands have it."""


# ---- All others ----------------------------------------------------------------------------------


def _dense(x: Value, weights: Value, bias: Value | None = None) -> Symbol:
    return dense(x, Value(sym.transpose(weights.symbol), weights.shape[::-1], x.dtype), bias)


def dense(x: Value, weights: Value, bias: Value | None = None) -> Symbol:
    """The operation `dense`, with weights [outputs, inputs]."""
    return sym.FullyConnected(
        x.symbol,
        weights.symbol,
        *([] if bias is None else [bias.symbol]),
        no_bias=bias is None,
        num_hidden=weights.shape[0],
        flatten=False,
    )


def _matmul(a: Value, b: Value) -> Symbol:
    return sym.dot(a.symbol, b.symbol)


def _gather(table: Value, indices: Value) -> Symbol:
    return sym.take(table.symbol, indices.symbol, axis=0, mode="clip")


def _reshape(x: Value, *, shape: Sequence[int]) -> Symbol:
    return sym.Reshape(x.symbol, shape=tuple(shape) or (1,))


def _squeeze(x: Value, *, axes: tuple[int, ...]) -> Symbol:
    return _reshaped(x.symbol, [n for axis, n in enumerate(x.shape) if axis not in axes])


def _expand_dims(x: Value, *, axis: int) -> Symbol:
    return _reshaped(x.symbol, [*x.shape[:axis], 1, *x.shape[axis:]])


def _transpose(x: Value, *, axes: tuple[int, ...]) -> Symbol:
    return sym.transpose(x.symbol, axes=axes) if axes else x.symbol


def _concat(*x: Value, axis: int) -> Symbol:
    return sym.Concat(*(one.symbol for one in x), dim=axis)


def _pad(x: Value, *, paddings: Sequence[Pair], value: float) -> Symbol:
    if x.rank == 4 and not any(paddings[0]) and not any(paddings[3]):
        images = _padded(channels_first(x).symbol, (paddings[1], paddings[2]), value)
        return sym.transpose(images, axes=(0, 2, 3, 1))
    symbol = x.symbol
    for axis, sizes in enumerate(paddings):
        row = sym.slice_axis(symbol, axis=axis, begin=0, end=1)
        filled = sym.zeros_like(row) + value
        before, after = (
            [sym.repeat(filled, repeats=size, axis=axis)] if size else [] for size in sizes
        )
        if before or after:
            symbol = sym.Concat(*before, symbol, *after, dim=axis)
    return symbol


def _slice(
    x: Value, *, begin: Sequence[int], end: Sequence[int | None], strides: Sequence[int]
) -> Symbol:
    return sym.slice(x.symbol, begin=tuple(begin), end=tuple(end), step=tuple(strides))


def _tile(x: Value, *, multiples: Sequence[int]) -> Symbol:
    return sym.tile(x.symbol, reps=tuple(multiples)) if multiples else x.symbol


def _reduced(function: Callable[..., Symbol]) -> Callable[..., Symbol]:
    def reduced(x: Value, *, axes: tuple[int, ...], keepdims: bool) -> Symbol:
        # No axes would mean all of them to MXNet.
        return function(x.symbol, axis=axes, keepdims=keepdims) if axes else x.symbol

    return reduced


def _argmax(x: Value, *, axis: int) -> Symbol:
    return sym.Cast(sym.argmax(x.symbol, axis=axis), dtype="int64")


def _classes(labels: Value) -> Symbol:
    """Class numbers in a dtype that MXNet's operations take for them."""
    small = labels.dtype not in ("int32", "int64")
    return sym.Cast(labels.symbol, dtype="int32") if small else labels.symbol


def _one_hot(labels: Value, *, depth: int, dtype: str) -> Symbol:
    return sym.one_hot(_classes(labels), depth=depth, dtype=native_dtype(dtype))


def _picked(scores: Symbol, shape: Sequence[int | None], labels: Value) -> Symbol:
    """The element of the last axis at the label, with that axis kept."""
    if len(shape) == 1:
        row = sym.pick(_reshaped(scores, (1, *shape)), _classes(labels), axis=-1)
        return _reshaped(row, (1,))
    return sym.pick(scores, _classes(labels), axis=-1, keepdims=True)


def _softmax_cross_entropy(logits: Value, labels: Value) -> Symbol:
    products = sym.broadcast_mul(labels.symbol, sym.log_softmax(logits.symbol, axis=-1))
    return -sym.sum(products, axis=-1)


def _sparse_softmax_cross_entropy(logits: Value, labels: Value) -> Symbol:
    scores = sym.log_softmax(logits.symbol, axis=-1)
    return -_reshaped(_picked(scores, logits.shape, labels), logits.shape[:-1])


def _sigmoid_cross_entropy(logits: Value, labels: Value) -> Symbol:
    x, z = logits.symbol, labels.symbol
    rest = sym.Activation(-sym.abs(x), act_type="softrelu")
    return sym.Activation(x, act_type="relu") - sym.broadcast_mul(x, z) + rest


def _in_top_k(logits: Value, labels: Value, *, k: int) -> Symbol:
    own = _picked(logits.symbol, logits.shape, labels)
    larger = sym.sum(sym.broadcast_greater(logits.symbol, own), axis=-1)
    return _as_bool(larger < k, logits.dtype)


def _constant(*, value: Any, dtype: str) -> Symbol:
    raise NotImplementedError("the builder feeds constants as inputs")


def _l2_loss(x: Value) -> Symbol:
    return sym.sum(sym.square(x.symbol)) / 2.0


def _l1_loss(x: Value) -> Symbol:
    return sym.sum(sym.abs(x.symbol))


TABLE: Mapping[str, Callable[..., Symbol]] = {
    **ELEMENTWISE,
    **{name: _on_nhwc(function) for name, function in CHANNELS_FIRST.items()},
    "argmax": _argmax,
    "batch_norm": _batch_norm_last,
    "concat": _concat,
    "constant": _constant,
    "conv2d": _conv2d_nhwc,
    "dense": _dense,
    "depthwise_conv2d": _depthwise_nhwc,
    "expand_dims": _expand_dims,
    "gather": _gather,
    "in_top_k": _in_top_k,
    "l1_loss": _l1_loss,
    "l2_loss": _l2_loss,
    "log_softmax": lambda x: sym.log_softmax(x.symbol, axis=-1),
    "matmul": _matmul,
    "one_hot": _one_hot,
    "pad": _pad,
    "reduce_max": _reduced(sym.max),
    "reduce_mean": _reduced(sym.mean),
    "reduce_min": _reduced(sym.min),
    "reduce_sum": _reduced(sym.sum),
    "reshape": _reshape,
    "sigmoid_cross_entropy": _sigmoid_cross_entropy,
    "slice": _slice,
    "softmax": lambda x: sym.softmax(x.symbol, axis=-1),
    "softmax_cross_entropy": _softmax_cross_entropy,
    "sparse_softmax_cross_entropy": _sparse_softmax_cross_entropy,
    "squeeze": _squeeze,
    "tile": _tile,
    "transpose": _transpose,
}
