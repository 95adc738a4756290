"""The operations of `mox_core.nn` in PyTorch: what generated code calls.

`TABLE` has them all, on tensors in their logical layout (images NHWC, kernels HWIO).
`CHANNELS_FIRST` has those on images once more, on NCHW images and OIHW kernels, which is what
PyTorch computes in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["CHANNELS_FIRST", "ELEMENTWISE", "TABLE", "depthwise_kernel", "kernel"]

Pads = tuple[tuple[int, int], tuple[int, int]]
Pair = tuple[int, int]


def kernel(weights: Tensor) -> Tensor:
    """HWIO -> OIHW."""
    return weights.permute(3, 2, 0, 1)


def depthwise_kernel(weights: Tensor) -> Tensor:
    """[height, width, channels, multiplier] -> [channels * multiplier, 1, height, width]."""
    return weights.permute(2, 3, 0, 1).flatten(0, 1).unsqueeze(1)


# ---- Images, channels first ----------------------------------------------------------------------


def _conv2d(
    x: Tensor,
    weights: Tensor,
    bias: Tensor | None = None,
    *,
    strides: Pair,
    padding: str,
    pads: Pads,
    dilations: Pair,
    groups: int,
) -> Tensor:
    (top, bottom), (left, right) = pads
    if top == bottom and left == right:
        return F.conv2d(x, weights, bias, strides, (top, left), dilations, groups)
    x = F.pad(x, (left, right, top, bottom))
    return F.conv2d(x, weights, bias, strides, 0, dilations, groups)


def _depthwise_conv2d(
    x: Tensor,
    weights: Tensor,
    bias: Tensor | None = None,
    *,
    strides: Pair,
    padding: str,
    pads: Pads,
    dilations: Pair,
) -> Tensor:
    return _conv2d(
        x,
        weights,
        bias,
        strides=strides,
        padding=padding,
        pads=pads,
        dilations=dilations,
        groups=x.shape[1],
    )


def _symmetric(pads: Pads, kernel_size: Pair) -> Pair | None:
    """The padding argument of PyTorch's pooling, where it can say it."""
    (top, bottom), (left, right) = pads
    fits = top == bottom and left == right
    small = 2 * top <= kernel_size[0] and 2 * left <= kernel_size[1]
    return (top, left) if fits and small else None


def _ceil_mode(size: Sequence[int], kernel_size: Pair, strides: Pair, pads: Pads) -> bool:
    """Whether padding at the end only is what PyTorch's ceil_mode does without a copy."""
    for length, k, step, (before, after) in zip(size, kernel_size, strides, pads, strict=True):
        wanted = (length + before + after - k) // step + 1
        rounded_up = -(-(length - k) // step) + 1
        if before or length < k or wanted != rounded_up or (rounded_up - 1) * step >= length:
            return False
    return True


def _max_pool(x: Tensor, *, kernel_size: Pair, strides: Pair, padding: str, pads: Pads) -> Tensor:
    symmetric = _symmetric(pads, kernel_size)
    if symmetric is not None:
        return F.max_pool2d(x, kernel_size, strides, symmetric)
    if _ceil_mode(x.shape[2:], kernel_size, strides, pads):
        return F.max_pool2d(x, kernel_size, strides, ceil_mode=True)
    (top, bottom), (left, right) = pads
    x = F.pad(x, (left, right, top, bottom), value=-math.inf)
    return F.max_pool2d(x, kernel_size, strides)


def _avg_pool(x: Tensor, *, kernel_size: Pair, strides: Pair, padding: str, pads: Pads) -> Tensor:
    symmetric = _symmetric(pads, kernel_size)
    if symmetric is not None:
        return F.avg_pool2d(x, kernel_size, strides, symmetric, count_include_pad=False)
    if _ceil_mode(x.shape[2:], kernel_size, strides, pads):
        return F.avg_pool2d(x, kernel_size, strides, ceil_mode=True, count_include_pad=False)
    (top, bottom), (left, right) = pads
    around = (left, right, top, bottom)
    inside = F.pad(torch.ones_like(x[:1, :1]), around)
    sums = F.avg_pool2d(F.pad(x, around), kernel_size, strides)
    return sums / F.avg_pool2d(inside, kernel_size, strides)


def _batch_norm(
    x: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    moving_mean: Tensor | None,
    moving_variance: Tensor | None,
    *,
    training: bool,
    epsilon: float,
    decay: float,
) -> Tensor:
    return F.batch_norm(
        x, moving_mean, moving_variance, gamma, beta, training, 1.0 - decay, epsilon
    )


def _lrn(x: Tensor, *, depth_radius: int, bias: float, alpha: float, beta: float) -> Tensor:
    size = 2 * depth_radius + 1
    return F.local_response_norm(x, size, alpha * size, beta, bias)


def _resize_bilinear(x: Tensor, *, size: Pair) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


def _resize_nearest(x: Tensor, *, size: Pair) -> Tensor:
    return F.interpolate(x, size, mode="nearest-exact")


CHANNELS_FIRST: Mapping[str, Callable[..., Tensor]] = {
    "avg_pool": _avg_pool,
    "batch_norm": _batch_norm,
    "conv2d": _conv2d,
    "depthwise_conv2d": _depthwise_conv2d,
    "lrn": _lrn,
    "max_pool": _max_pool,
    "resize_bilinear": _resize_bilinear,
    "resize_nearest": _resize_nearest,
}


def _on_nhwc(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def on_nhwc(x: Tensor, *others: Any, **attrs: Any) -> Tensor:
        return function(x.permute(0, 3, 1, 2), *others, **attrs).permute(0, 2, 3, 1)

    return on_nhwc


def _conv2d_nhwc(x: Tensor, weights: Tensor, bias: Tensor | None = None, **attrs: Any) -> Tensor:
    return _on_nhwc(_conv2d)(x, kernel(weights), bias, **attrs)


def _depthwise_nhwc(x: Tensor, weights: Tensor, bias: Tensor | None = None, **attrs: Any) -> Tensor:
    return _on_nhwc(_depthwise_conv2d)(x, depthwise_kernel(weights), bias, **attrs)


def _batch_norm_last(x: Tensor, *others: Any, **attrs: Any) -> Tensor:
    if x.dim() == 2:
        return _batch_norm(x, *others, **attrs)
    return _batch_norm(x.movedim(-1, 1), *others, **attrs).movedim(1, -1)


# ---- All others ----------------------------------------------------------------------------------


def _clip(x: Tensor, *, low: float, high: float) -> Tensor:
    return torch.clamp(x, low, high)


def _leaky_relu(x: Tensor, *, alpha: float) -> Tensor:
    return F.leaky_relu(x, alpha)


def _softplus(x: Tensor) -> Tensor:
    return F.softplus(x, threshold=50.0)


def _cast(x: Tensor, *, dtype: str) -> Tensor:
    return x.to(getattr(torch, dtype))


def _dense(x: Tensor, weights: Tensor, bias: Tensor | None = None) -> Tensor:
    if bias is None:
        return torch.matmul(x, weights)
    if x.dim() == 2:
        return torch.addmm(bias, x, weights)
    return torch.matmul(x, weights) + bias


def _dropout(x: Tensor, *, keep_prob: float) -> Tensor:
    return F.dropout(x, 1.0 - keep_prob, training=True)


def _gather(table: Tensor, indices: Tensor) -> Tensor:
    return table[indices.long()]


def _reshape(x: Tensor, *, shape: Sequence[int]) -> Tensor:
    return x.reshape(shape)


def _squeeze(x: Tensor, *, axes: tuple[int, ...]) -> Tensor:
    return x.squeeze(axes)


def _expand_dims(x: Tensor, *, axis: int) -> Tensor:
    return x.unsqueeze(axis)


def _transpose(x: Tensor, *, axes: tuple[int, ...]) -> Tensor:
    return x.permute(axes)


def _concat(*x: Tensor, axis: int) -> Tensor:
    return torch.cat(x, axis)


def _pad(x: Tensor, *, paddings: Sequence[Pair], value: float) -> Tensor:
    flat = [size for both in reversed(paddings) for size in both]
    return F.pad(x, flat, value=value)


def _slice(
    x: Tensor, *, begin: Sequence[int], end: Sequence[int | None], strides: Sequence[int]
) -> Tensor:
    return x[tuple(map(slice, begin, end, strides))]


def _tile(x: Tensor, *, multiples: Sequence[int]) -> Tensor:
    return x.repeat(*multiples)


def _reduced(
    function: Callable[..., Tensor],
) -> Callable[..., Tensor]:
    def reduced(x: Tensor, *, axes: tuple[int, ...], keepdims: bool) -> Tensor:
        # No axes would mean all of them to PyTorch.
        return function(x, dim=axes, keepdim=keepdims) if axes else x

    return reduced


def _l2_loss(x: Tensor) -> Tensor:
    return torch.sum(x * x) / 2


def _l1_loss(x: Tensor) -> Tensor:
    return torch.sum(torch.abs(x))


def _argmax(x: Tensor, *, axis: int) -> Tensor:
    return torch.argmax(x, axis)


def _one_hot(labels: Tensor, *, depth: int, dtype: str) -> Tensor:
    classes = torch.arange(depth, device=labels.device)
    return (labels.unsqueeze(-1) == classes).to(getattr(torch, dtype))


def _softmax(x: Tensor) -> Tensor:
    return torch.softmax(x, -1)


def _log_softmax(x: Tensor) -> Tensor:
    return torch.log_softmax(x, -1)


def _softmax_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return -(labels * torch.log_softmax(logits, -1)).sum(-1)


def _sparse_softmax_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    if logits.dim() <= 2:
        return F.cross_entropy(logits, labels.long(), reduction="none")
    rows = logits.flatten(0, -2)
    return F.cross_entropy(rows, labels.long().flatten(), reduction="none").view(labels.shape)


def _sigmoid_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, labels, reduction="none")


def _in_top_k(logits: Tensor, labels: Tensor, *, k: int) -> Tensor:
    own = logits.gather(-1, labels.long().unsqueeze(-1))
    return (logits > own).sum(-1) < k


def _constant(*, value: Any, dtype: str) -> Tensor:
    return torch.tensor(value, dtype=getattr(torch, dtype))


def _identity(x: Tensor) -> Tensor:
    return x


ELEMENTWISE: Mapping[str, Callable[..., Tensor]] = {
    "abs": torch.abs,
    "add": torch.add,
    "cast": _cast,
    "clip": _clip,
    "divide": torch.div,
    "dropout": _dropout,
    "elu": F.elu,
    "equal": torch.eq,
    "exp": torch.exp,
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "identity": _identity,
    "leaky_relu": _leaky_relu,
    "less": torch.lt,
    "less_equal": torch.le,
    "log": torch.log,
    "logical_and": torch.logical_and,
    "logical_or": torch.logical_or,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "multiply": torch.mul,
    "negative": torch.neg,
    "not_equal": torch.ne,
    "power": torch.pow,
    "relu": torch.relu,
    "relu6": F.relu6,
    "rsqrt": torch.rsqrt,
    "sigmoid": torch.sigmoid,
    "softplus": _softplus,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "stop_gradient": torch.Tensor.detach,
    "subtract": torch.sub,
    "tanh": torch.tanh,
    "where": torch.where,
}
"""The same in every layout, as long as all operands have it."""

TABLE: Mapping[str, Callable[..., Tensor]] = {
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
    "log_softmax": _log_softmax,
    "matmul": torch.matmul,
    "one_hot": _one_hot,
    "pad": _pad,
    "reduce_max": _reduced(torch.amax),
    "reduce_mean": _reduced(torch.mean),
    "reduce_min": _reduced(torch.amin),
    "reduce_sum": _reduced(torch.sum),
    "reshape": _reshape,
    "sigmoid_cross_entropy": _sigmoid_cross_entropy,
    "slice": _slice,
    "softmax": _softmax,
    "softmax_cross_entropy": _softmax_cross_entropy,
    "sparse_softmax_cross_entropy": _sparse_softmax_cross_entropy,
    "squeeze": _squeeze,
    "tile": _tile,
    "transpose": _transpose,
}
