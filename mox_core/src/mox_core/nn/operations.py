"""The table of operations: what each takes, and the shape and dtype that it gives.

This is the list that an engine implements: one native function per name, called as
`function(*inputs, **attrs)`. `docs/nn.md` says what each computes;
`mox_core.testing.nn_reference` computes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mox_core.nn.shapes import Misfit, broadcast, pair, reshaped, window
from mox_core.nn.tensor import FLOATS, INTEGERS, Shape, Tensor

__all__ = ["OPERATIONS", "Operation"]

Inputs = tuple[Any, ...]
Attrs = dict[str, Any]
Infer = Callable[[Inputs, Attrs], tuple[Shape, str]]


@dataclass(frozen=True)
class Operation:
    """One row of the table.

    Args:
        infer: (inputs, attrs) -> (shape, dtype); raises Misfit; completes `attrs`.
        inputs: names of its inputs; one that ends in `?` may be None; `*x` stands for any number.
        attrs: names of its attributes once `infer` is done.
        gradient: gradients flow to its inputs that are floats. False: they end here.
        layout_free: it may read a variable in any order of its elements (a sum over all).
    """

    infer: Infer
    inputs: tuple[str, ...]
    attrs: tuple[str, ...] = ()
    gradient: bool = True
    layout_free: bool = False


# ---- What several of them need -------------------------------------------------------------------


def _same_dtype(inputs: Inputs) -> str:
    dtypes = {one.dtype for one in inputs if one is not None}
    if len(dtypes) > 1:
        raise Misfit(
            "inputs of one dtype",
            " and ".join(sorted(dtypes)),
            "Convert one of them with nn.cast(x, dtype).",
        )
    dtype: str = dtypes.pop()
    return dtype


def _float(tensor: Tensor) -> None:
    if tensor.dtype not in FLOATS:
        raise Misfit(
            "a floating-point input", tensor.dtype, "Convert it with nn.cast(x, 'float32')."
        )


def _integer(tensor: Tensor, what: str) -> None:
    if tensor.dtype not in INTEGERS:
        raise Misfit(f"{what} of whole numbers", tensor.dtype, "Use nn.cast(x, 'int64').")


def _rank(tensor: Tensor, rank: int, what: str) -> None:
    if tensor.rank != rank:
        raise Misfit(what, f"shape {tensor.shape}")


def _image(tensor: Tensor) -> tuple[int, int, int]:
    """(height, width, channels) of an image batch."""
    what = "an image batch [batch, height, width, channels] of floats"
    _rank(tensor, 4, what)
    _float(tensor)
    height, width, channels = tensor.shape[1:]
    assert height is not None and width is not None and channels is not None
    return height, width, channels


def _axes(tensor: Tensor, axes: Any) -> tuple[int, ...]:
    """Non-negative axes, in order; None means all."""
    if axes is None:
        return tuple(range(tensor.rank))
    given = axes if isinstance(axes, (list, tuple)) else (axes,)
    found = []
    for axis in given:
        if type(axis) is not int or not -tensor.rank <= axis < tensor.rank:
            raise Misfit(f"axes of a tensor of rank {tensor.rank}", repr(axes))
        found.append(axis % tensor.rank)
    return tuple(sorted(set(found)))


# ---- Element by element --------------------------------------------------------------------------


def _unary(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    return inputs[0].shape, inputs[0].dtype


def _float_unary(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    _float(inputs[0])
    return inputs[0].shape, inputs[0].dtype


def _binary(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    return broadcast(*(one.shape for one in inputs)), _same_dtype(inputs)


def _float_binary(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    shape, dtype = _binary(inputs, attrs)
    _float(inputs[0])
    return shape, dtype


def _comparison(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    return _binary(inputs, attrs)[0], "bool"


def _logical(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    shape, dtype = _binary(inputs, attrs)
    if dtype != "bool":
        raise Misfit("inputs of dtype bool", dtype)
    return shape, dtype


def _where(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    condition, *values = inputs
    if condition.dtype != "bool":
        raise Misfit("a condition of dtype bool", condition.dtype)
    return broadcast(*(one.shape for one in inputs)), _same_dtype(tuple(values))


def _cast(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    if attrs["dtype"] not in (*FLOATS, *INTEGERS, "bool"):
        known = ", ".join((*FLOATS, *INTEGERS, "bool"))
        raise Misfit(f"a dtype of {known}", repr(attrs["dtype"]))
    return inputs[0].shape, attrs["dtype"]


# ---- Layers --------------------------------------------------------------------------------------


def _conv2d(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    x, weights, bias = inputs
    height, width, channels = _image(x)
    _rank(weights, 4, "weights [height, width, channels / groups, outputs]")
    kernel_h, kernel_w, per_group, outputs = weights.shape
    groups = attrs["groups"]
    if type(groups) is not int or groups < 1 or channels % groups or outputs % groups:
        raise Misfit(f"groups that divide {channels} channels and {outputs} outputs", repr(groups))
    if per_group != channels // groups:
        raise Misfit(
            f"weights for {channels // groups} channels (shape {x.shape}, groups {groups})",
            f"weights {weights.shape}",
        )
    _bias(bias, outputs)
    out = _place(attrs, (height, width), (kernel_h, kernel_w))
    return (x.shape[0], *out, outputs), _same_dtype(inputs)


def _depthwise(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    x, weights, bias = inputs
    height, width, channels = _image(x)
    _rank(weights, 4, "weights [height, width, channels, multiplier]")
    kernel_h, kernel_w, in_channels, multiplier = weights.shape
    if in_channels != channels:
        raise Misfit(f"weights for {channels} channels", f"weights {weights.shape}")
    _bias(bias, channels * multiplier)
    out = _place(attrs, (height, width), (kernel_h, kernel_w))
    return (x.shape[0], *out, channels * multiplier), _same_dtype(inputs)


def _bias(bias: Tensor | None, outputs: int) -> None:
    if bias is not None and bias.shape != (outputs,):
        raise Misfit(f"a bias of shape ({outputs},)", f"shape {bias.shape}")


def _place(attrs: Attrs, size: tuple[int, int], kernel: tuple[int, int]) -> tuple[int, int]:
    attrs["strides"] = pair(attrs["strides"], "strides")
    dilations = attrs["dilations"] = pair(attrs.get("dilations", 1), "dilations")
    if max(attrs["strides"]) > 1 and max(dilations) > 1:
        raise Misfit("strides or dilations, not both", f"{attrs['strides']} and {dilations}")
    out, attrs["padding"], attrs["pads"] = window(
        size, kernel, strides=attrs["strides"], dilations=dilations, padding=attrs["padding"]
    )
    return out


def _pool(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    (x,) = inputs
    height, width, channels = _image(x)
    attrs["kernel_size"] = pair(attrs["kernel_size"], "kernel_size")
    out = _place(attrs, (height, width), attrs["kernel_size"])
    del attrs["dilations"]
    return (x.shape[0], *out, channels), x.dtype


def _dense(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    x, weights, bias = inputs
    _float(x)
    if x.rank < 2:
        raise Misfit("a batch of rows [batch, units]", f"shape {x.shape}")
    _rank(weights, 2, "weights [inputs, outputs]")
    if x.shape[-1] != weights.shape[0]:
        raise Misfit(f"weights for {x.shape[-1]} inputs", f"weights {weights.shape}")
    _bias(bias, weights.shape[1])
    return (*x.shape[:-1], weights.shape[1]), _same_dtype(inputs)


def _matmul(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    left, right = inputs
    if left.rank != 2 or right.rank != 2 or left.shape[1] != right.shape[0]:
        raise Misfit("matrices [n, k] and [k, m]", f"{left.shape} and {right.shape}")
    _float(left)
    return (left.shape[0], right.shape[1]), _same_dtype(inputs)


def _batch_norm(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    x = inputs[0]
    _float(x)
    if x.rank < 2:
        raise Misfit("a batch with channels in the last dimension", f"shape {x.shape}")
    for one in inputs[1:]:
        if one is not None and one.shape != (x.shape[-1],):
            raise Misfit(f"statistics of shape ({x.shape[-1]},)", f"shape {one.shape}")
    return x.shape, _same_dtype(inputs)


def _lrn(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    _image(inputs[0])
    return inputs[0].shape, inputs[0].dtype


def _dropout(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    if not 0 < attrs["keep_prob"] <= 1:
        raise Misfit("keep_prob above 0 and at most 1", attrs["keep_prob"])
    return _float_unary(inputs, attrs)


def _gather(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    table, indices = inputs
    _integer(indices, "indices")
    if table.rank < 1 or table.shape[0] is None:
        raise Misfit("a table of known size", f"shape {table.shape}")
    return (*indices.shape, *table.shape[1:]), table.dtype


# ---- Shapes --------------------------------------------------------------------------------------


def _reshape(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    (x,) = inputs
    wanted = attrs["shape"]
    if not isinstance(wanted, (list, tuple)):
        raise Misfit("a shape as a tuple", repr(wanted))
    shape = reshaped(x.shape, wanted)
    attrs["shape"] = tuple(-1 if size is None else size for size in shape)
    return shape, x.dtype


def _squeeze(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    (x,) = inputs
    if attrs["axes"] is None:
        attrs["axes"] = tuple(axis for axis, size in enumerate(x.shape) if size == 1)
    axes = attrs["axes"] = _axes(x, attrs["axes"])
    if any(x.shape[axis] != 1 for axis in axes):
        raise Misfit(f"size 1 in the dimensions {axes}", f"shape {x.shape}")
    return tuple(size for axis, size in enumerate(x.shape) if axis not in axes), x.dtype


def _expand_dims(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    (x,) = inputs
    axis = attrs["axis"]
    if type(axis) is not int or not -x.rank - 1 <= axis <= x.rank:
        raise Misfit(f"an axis from {-x.rank - 1} to {x.rank}", repr(axis))
    axis = attrs["axis"] = axis % (x.rank + 1)
    shape = (*x.shape[:axis], 1, *x.shape[axis:])
    _batch_first(shape)
    return shape, x.dtype


def _transpose(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    (x,) = inputs
    axes = attrs["axes"] = tuple(attrs["axes"])
    if sorted(axes) != list(range(x.rank)):
        raise Misfit(f"an order of the axes 0 to {x.rank - 1}", axes)
    shape = tuple(x.shape[axis] for axis in axes)
    _batch_first(shape)
    return shape, x.dtype


def _batch_first(shape: Shape) -> None:
    if None in shape[1:]:
        raise Misfit("the batch to stay the first dimension", f"shape {shape}")


def _concat(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    first = inputs[0]
    (axis,) = _axes(first, attrs["axis"])
    attrs["axis"] = axis
    others = [one.shape[:axis] + one.shape[axis + 1 :] for one in inputs]
    if any(one.rank != first.rank for one in inputs) or len(set(others)) > 1:
        shapes = ", ".join(str(one.shape) for one in inputs)
        raise Misfit(f"shapes that are equal but in dimension {axis}", shapes)
    sizes = [one.shape[axis] for one in inputs]
    total = None if None in sizes else sum(sizes)
    return (*first.shape[:axis], total, *first.shape[axis + 1 :]), _same_dtype(inputs)


def _pad(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    (x,) = inputs
    try:
        pads = tuple((int(before), int(after)) for before, after in attrs["paddings"])
    except (TypeError, ValueError):
        pads = ()
    if len(pads) != x.rank or any(min(both) < 0 for both in pads):
        raise Misfit(f"{x.rank} pairs (before, after)", repr(attrs["paddings"]))
    if x.shape[:1] == (None,) and pads[0] != (0, 0):
        raise Misfit("no padding of the batch", pads[0])
    attrs["paddings"] = pads
    return tuple(
        None if size is None else size + sum(both) for size, both in zip(x.shape, pads, strict=True)
    ), x.dtype


def _slice(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    """Attributes begin, end, strides: per dimension; end None: to the end."""
    (x,) = inputs
    shape: list[int | None] = []
    begins, ends = [], []
    for size, begin, end, stride in zip(
        x.shape, attrs["begin"], attrs["end"], attrs["strides"], strict=True
    ):
        if size is None:
            if (begin, end, stride) != (0, None, 1):
                raise Misfit("the whole batch (its size is not known)", f"[{begin}:{end}:{stride}]")
            shape.append(None)
        else:
            begin, end, stride = slice(begin, end, stride).indices(size)
            count = len(range(begin, end, stride))
            if stride < 1 or not count:
                raise Misfit(
                    f"a slice with elements of {size}, forwards", f"[{begin}:{end}:{stride}]"
                )
            shape.append(count)
        begins.append(begin)
        ends.append(end)
    attrs.update(begin=tuple(begins), end=tuple(ends), strides=tuple(attrs["strides"]))
    return tuple(shape), x.dtype


def _tile(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    (x,) = inputs
    multiples = attrs["multiples"] = tuple(attrs["multiples"])
    if len(multiples) != x.rank or not all(type(n) is int and n > 0 for n in multiples):
        raise Misfit(f"{x.rank} positive whole numbers", multiples)
    if x.shape[:1] == (None,) and multiples[0] != 1:
        raise Misfit("the batch to stay as it is", multiples)
    return tuple(
        None if size is None else size * times
        for size, times in zip(x.shape, multiples, strict=True)
    ), x.dtype


def _resize(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    (x,) = inputs
    *_, channels = _image(x)
    attrs["size"] = pair(attrs["size"], "size")
    return (x.shape[0], *attrs["size"], channels), x.dtype


# ---- Reductions, losses, metrics -----------------------------------------------------------------


def _reduce(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    (x,) = inputs
    axes = attrs["axes"] = _axes(x, attrs["axes"])
    keep = attrs["keepdims"] = bool(attrs["keepdims"])
    sizes: list[int | None] = []
    for axis, size in enumerate(x.shape):
        if axis not in axes:
            sizes.append(size)
        elif keep:
            sizes.append(1)
    return tuple(sizes), x.dtype


def _reduce_float(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    _float(inputs[0])
    return _reduce(inputs, attrs)


def _argmax(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    (x,) = inputs
    (axis,) = _axes(x, attrs["axis"])
    attrs["axis"] = axis
    return x.shape[:axis] + x.shape[axis + 1 :], "int64"


def _one_hot(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    (x,) = inputs
    _integer(x, "labels")
    if type(attrs["depth"]) is not int or attrs["depth"] < 1:
        raise Misfit("a positive depth", repr(attrs["depth"]))
    return (*x.shape, attrs["depth"]), _cast(inputs, attrs)[1]


def _softmax(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    _float(inputs[0])
    if inputs[0].rank < 1:
        raise Misfit("at least one dimension", f"shape {inputs[0].shape}")
    return inputs[0].shape, inputs[0].dtype


def _scalar_sum(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    _float(inputs[0])
    return (), inputs[0].dtype


def _logits_and_labels(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    logits, labels = inputs
    _float(logits)
    if logits.rank < 1 or broadcast(logits.shape, labels.shape) != broadcast(logits.shape):
        raise Misfit(f"labels of shape {logits.shape}, like the logits", f"shape {labels.shape}")
    if logits.rank != labels.rank:
        raise Misfit(
            f"labels of shape {logits.shape}, like the logits",
            f"shape {labels.shape}",
            "Class numbers go to nn.sparse_softmax_cross_entropy, or through nn.one_hot first.",
        )
    return logits.shape, _same_dtype(inputs)


def _softmax_xent(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    shape, dtype = _logits_and_labels(inputs, attrs)
    return shape[:-1], dtype


def _sparse_xent(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    logits, labels = inputs
    _float(logits)
    _class_numbers(logits, labels)
    return logits.shape[:-1], logits.dtype


def _class_numbers(logits: Tensor, labels: Tensor) -> None:
    _integer(labels, "labels")
    rows = logits.shape[:-1]
    fits = len(rows) == labels.rank and all(
        a == b or None in (a, b) for a, b in zip(rows, labels.shape, strict=True)
    )
    if logits.rank < 1 or not fits:
        raise Misfit(f"labels of shape {logits.shape[:-1]}", f"shape {labels.shape}")


def _in_top_k(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    logits, labels = inputs
    _class_numbers(logits, labels)
    if type(attrs["k"]) is not int or not 0 < attrs["k"] <= (logits.shape[-1] or math.inf):
        raise Misfit(f"k from 1 to {logits.shape[-1]}", repr(attrs["k"]))
    return labels.shape, "bool"


def _constant(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    """Attribute value: nested tuples."""
    shape = []
    level = attrs["value"]
    while isinstance(level, tuple):
        shape.append(len(level))
        level = level[0] if level else 0
    return tuple(shape), attrs["dtype"]


def _given(inputs: Inputs, attrs: Attrs) -> tuple[Shape, str]:
    raise AssertionError("inputs and variables are not inferred")


def _rows(
    infer: Infer, names: str, inputs: tuple[str, ...], attrs: Sequence[str] = (), **options: bool
) -> dict[str, Operation]:
    return {name: Operation(infer, inputs, tuple(attrs), **options) for name in names.split()}


_WINDOW = ("strides", "padding", "pads")
_X = ("x",)
_AB = ("a", "b")

OPERATIONS: Mapping[str, Operation] = {
    **_rows(_given, "input", (), ["name"]),
    **_rows(_given, "variable", ()),
    **_rows(_constant, "constant", (), ["value", "dtype"], gradient=False),
    # element by element
    **_rows(_unary, "identity negative abs square relu", _X),
    **_rows(_float_unary, "relu6 sigmoid tanh softplus elu exp log sqrt rsqrt", _X),
    **_rows(_float_unary, "leaky_relu", _X, ["alpha"]),
    **_rows(_unary, "clip", _X, ["low", "high"]),
    **_rows(_unary, "stop_gradient", _X, gradient=False),
    **_rows(_cast, "cast", _X, ["dtype"]),
    **_rows(_binary, "add subtract multiply maximum minimum", _AB),
    **_rows(_float_binary, "divide power", _AB),
    **_rows(
        _comparison, "equal not_equal less less_equal greater greater_equal", _AB, gradient=False
    ),
    **_rows(_logical, "logical_and logical_or", _AB, gradient=False),
    **_rows(_where, "where", ("condition", "a", "b")),
    # layers
    **_rows(_conv2d, "conv2d", ("x", "weights", "bias?"), [*_WINDOW, "dilations", "groups"]),
    **_rows(_depthwise, "depthwise_conv2d", ("x", "weights", "bias?"), [*_WINDOW, "dilations"]),
    **_rows(_pool, "max_pool avg_pool", _X, ["kernel_size", *_WINDOW]),
    **_rows(_dense, "dense", ("x", "weights", "bias?")),
    **_rows(_matmul, "matmul", _AB),
    **_rows(
        _batch_norm,
        "batch_norm",
        ("x", "gamma?", "beta?", "moving_mean", "moving_variance"),
        ["training", "epsilon", "decay"],
    ),
    **_rows(_lrn, "lrn", _X, ["depth_radius", "bias", "alpha", "beta"]),
    **_rows(_dropout, "dropout", _X, ["keep_prob"]),
    **_rows(_gather, "gather", ("table", "indices")),
    # shapes
    **_rows(_reshape, "reshape", _X, ["shape"]),
    **_rows(_squeeze, "squeeze", _X, ["axes"]),
    **_rows(_expand_dims, "expand_dims", _X, ["axis"]),
    **_rows(_transpose, "transpose", _X, ["axes"]),
    **_rows(_concat, "concat", ("*x",), ["axis"]),
    **_rows(_pad, "pad", _X, ["paddings", "value"]),
    **_rows(_slice, "slice", _X, ["begin", "end", "strides"]),
    **_rows(_tile, "tile", _X, ["multiples"]),
    **_rows(_resize, "resize_bilinear resize_nearest", _X, ["size"]),
    # reductions
    **_rows(_reduce, "reduce_sum reduce_max reduce_min", _X, ["axes", "keepdims"]),
    **_rows(_reduce_float, "reduce_mean", _X, ["axes", "keepdims"]),
    **_rows(_scalar_sum, "l2_loss l1_loss", _X, layout_free=True),
    **_rows(_argmax, "argmax", _X, ["axis"], gradient=False),
    **_rows(_one_hot, "one_hot", ("labels",), ["depth", "dtype"], gradient=False),
    # classification
    **_rows(_softmax, "softmax log_softmax", _X),
    **_rows(_softmax_xent, "softmax_cross_entropy", ("logits", "labels")),
    **_rows(_sparse_xent, "sparse_softmax_cross_entropy", ("logits", "labels")),
    **_rows(_logits_and_labels, "sigmoid_cross_entropy", ("logits", "labels")),
    **_rows(_in_top_k, "in_top_k", ("logits", "labels"), ["k"], gradient=False),
}
"""Name -> operation: the whole list that an engine implements."""
