"""Operations without variables: arithmetic, activations, shapes, reductions.

Arguments may be tensors, Python numbers and NumPy arrays; numbers, and arrays of floats beside
floats, take the dtype of the tensor beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mox_core.errors import SpecError
from mox_core.nn.graph import active_graph
from mox_core.nn.shapes import Misfit
from mox_core.nn.tensor import FLOATS, Tensor

__all__ = [
    "abs",
    "add",
    "add_n",
    "argmax",
    "as_tensor",
    "cast",
    "clip",
    "concat",
    "constant_like",
    "divide",
    "elu",
    "equal",
    "exp",
    "expand_dims",
    "flatten",
    "gather",
    "greater",
    "greater_equal",
    "identity",
    "in_top_k",
    "index",
    "l1_loss",
    "l2_loss",
    "leaky_relu",
    "less",
    "less_equal",
    "log",
    "log_softmax",
    "logical_and",
    "logical_or",
    "lrn",
    "matmul",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "not_equal",
    "one_hot",
    "pad",
    "power",
    "reduce_max",
    "reduce_mean",
    "reduce_min",
    "reduce_sum",
    "relu",
    "relu6",
    "reshape",
    "resize_bilinear",
    "resize_nearest",
    "rsqrt",
    "sigmoid",
    "softmax",
    "softplus",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "stop_gradient",
    "subtract",
    "tanh",
    "tile",
    "transpose",
    "where",
]


def as_tensor(value: Any, caller: str = "as_tensor", *, dtype: str | None = None) -> Tensor:
    """Returns a tensor as it is, and a number or a NumPy array as a constant.

    Args:
        value: what to convert.
        caller: the operation, for errors.
        dtype: of a constant; None: float32 and int64 for Python numbers, an array keeps its own.

    Raises:
        SpecError: it is something else, such as a tensor of another framework.
    """
    if isinstance(value, Tensor):
        return value
    graph = active_graph(caller)
    module = type(value).__module__.partition(".")[0]
    if module == "numpy" and hasattr(value, "tolist"):
        plain, dtype = value.tolist(), dtype or str(value.dtype)
    elif isinstance(value, (bool, int, float)):
        plain = value
        dtype = dtype or {bool: "bool", int: "int64"}.get(type(value), "float32")
    else:
        raise graph.error(
            caller,
            Misfit(
                "nn.Tensors, numbers or NumPy arrays",
                f"a {type(value).__module__}.{type(value).__qualname__}",
                "A neutral model_fn builds with mox.nn only; use the tensors in its inputs.",
            ),
        )
    return graph.add("constant", (), {"value": _as_tuples(plain), "dtype": dtype})


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def constant_like(value: Any, other: Any, caller: str) -> Tensor:
    """`as_tensor`, where numbers and arrays of floats take the dtype of the tensor `other`."""
    whole = isinstance(value, int)
    floats = isinstance(value, float) or str(getattr(value, "dtype", "")) in FLOATS
    fits = isinstance(other, Tensor) and (whole or (floats and other.dtype in FLOATS))
    return as_tensor(value, caller, dtype=other.dtype if fits else None)


def _unary(op: str, x: Any, **attrs: Any) -> Tensor:
    return active_graph(op).add(op, (as_tensor(x, op),), attrs)


def _binary(op: str, a: Any, b: Any) -> Tensor:
    return active_graph(op).add(op, (constant_like(a, b, op), constant_like(b, a, op)))


# ---- Element by element --------------------------------------------------------------------------


def identity(x: Any) -> Tensor:
    """The same values under a name of their own."""
    return _unary("identity", x)


def stop_gradient(x: Any) -> Tensor:
    """The same values; no gradient flows through."""
    return _unary("stop_gradient", x)


def cast(x: Any, dtype: str) -> Tensor:
    """Converts to another dtype; floats to integers by cutting off, bools to 0 and 1."""
    x = as_tensor(x, "cast")
    return x if x.dtype == dtype else _unary("cast", x, dtype=dtype)


def negative(x: Any) -> Tensor:
    """-x."""
    return _unary("negative", x)


def abs(x: Any) -> Tensor:
    """The absolute values."""
    return _unary("abs", x)


def square(x: Any) -> Tensor:
    """The squares."""
    return _unary("square", x)


def sqrt(x: Any) -> Tensor:
    """The square roots."""
    return _unary("sqrt", x)


def rsqrt(x: Any) -> Tensor:
    """1 / sqrt(x)."""
    return _unary("rsqrt", x)


def exp(x: Any) -> Tensor:
    """The exponentials."""
    return _unary("exp", x)


def log(x: Any) -> Tensor:
    """The natural logarithm."""
    return _unary("log", x)


def clip(x: Any, low: float, high: float) -> Tensor:
    """Values below `low` become `low`, values above `high` become `high`."""
    return _unary("clip", x, low=low, high=high)


def relu(x: Any) -> Tensor:
    """max(x, 0)."""
    return _unary("relu", x)


def relu6(x: Any) -> Tensor:
    """min(max(x, 0), 6)."""
    return _unary("relu6", x)


def leaky_relu(x: Any, alpha: float = 0.2) -> Tensor:
    """The value where it is positive, alpha * x elsewhere."""
    return _unary("leaky_relu", x, alpha=alpha)


def elu(x: Any) -> Tensor:
    """The value where it is positive, exp(x) - 1 elsewhere."""
    return _unary("elu", x)


def sigmoid(x: Any) -> Tensor:
    """1 / (1 + exp(-x))."""
    return _unary("sigmoid", x)


def tanh(x: Any) -> Tensor:
    """The hyperbolic tangent."""
    return _unary("tanh", x)


def softplus(x: Any) -> Tensor:
    """log(1 + exp(x))."""
    return _unary("softplus", x)


def add(a: Any, b: Any) -> Tensor:
    """The sum; sizes of 1 stretch, as in NumPy. So for all operations of two tensors."""
    return _binary("add", a, b)


def subtract(a: Any, b: Any) -> Tensor:
    """The difference a - b."""
    return _binary("subtract", a, b)


def multiply(a: Any, b: Any) -> Tensor:
    """The product."""
    return _binary("multiply", a, b)


def divide(a: Any, b: Any) -> Tensor:
    """The quotient a / b, of floats."""
    return _binary("divide", a, b)


def power(a: Any, b: Any) -> Tensor:
    """The power a ** b, of floats."""
    return _binary("power", a, b)


def maximum(a: Any, b: Any) -> Tensor:
    """The larger one of each pair."""
    return _binary("maximum", a, b)


def minimum(a: Any, b: Any) -> Tensor:
    """The smaller one of each pair."""
    return _binary("minimum", a, b)


def equal(a: Any, b: Any) -> Tensor:
    """Where a == b; a bool tensor. So for all comparisons."""
    return _binary("equal", a, b)


def not_equal(a: Any, b: Any) -> Tensor:
    """Where a != b."""
    return _binary("not_equal", a, b)


def less(a: Any, b: Any) -> Tensor:
    """Where a < b."""
    return _binary("less", a, b)


def less_equal(a: Any, b: Any) -> Tensor:
    """Where a <= b."""
    return _binary("less_equal", a, b)


def greater(a: Any, b: Any) -> Tensor:
    """Where a > b."""
    return _binary("greater", a, b)


def greater_equal(a: Any, b: Any) -> Tensor:
    """Where a >= b."""
    return _binary("greater_equal", a, b)


def logical_and(a: Any, b: Any) -> Tensor:
    """Where both bools are true."""
    return _binary("logical_and", a, b)


def logical_or(a: Any, b: Any) -> Tensor:
    """Where one of the bools is true."""
    return _binary("logical_or", a, b)


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """Picks from a where the condition is true, from b elsewhere."""
    inputs = (
        as_tensor(condition, "where"),
        constant_like(a, b, "where"),
        constant_like(b, a, "where"),
    )
    return active_graph("where").add("where", inputs)


def add_n(tensors: Sequence[Any]) -> Tensor:
    """The sum of a list of tensors."""
    if not tensors:
        raise SpecError("nn.add_n: expected at least one tensor, got an empty list.")
    total = as_tensor(tensors[0], "add_n")
    for one in tensors[1:]:
        total = add(total, one)
    return total


# ---- Matrices, images ----------------------------------------------------------------------------


def matmul(a: Any, b: Any) -> Tensor:
    """The product of two matrices."""
    return _binary("matmul", a, b)


def gather(table: Any, indices: Any) -> Tensor:
    """The rows of a table, by their numbers: [..., *table.shape[1:]]."""
    inputs = (as_tensor(table, "gather"), as_tensor(indices, "gather"))
    return active_graph("gather").add("gather", inputs)


def lrn(
    x: Any, depth_radius: int = 5, *, bias: float = 1.0, alpha: float = 1.0, beta: float = 0.5
) -> Tensor:
    """Local response normalization over channels, as TensorFlow computes it.

    x / (bias + alpha * sum of squares over the channels at most `depth_radius` away) ** beta

    Source: Krizhevsky et al., ImageNet classification with deep convolutional networks, 2012.
    """
    return _unary("lrn", x, depth_radius=depth_radius, bias=bias, alpha=alpha, beta=beta)


def resize_bilinear(x: Any, size: Any) -> Tensor:
    """Resizes images to (height, width); pixel centers at half positions, no antialiasing."""
    return _unary("resize_bilinear", x, size=size)


def resize_nearest(x: Any, size: Any) -> Tensor:
    """Resizes images to (height, width) by the nearest pixel; centers at half positions."""
    return _unary("resize_nearest", x, size=size)


# ---- Shapes --------------------------------------------------------------------------------------


def reshape(x: Any, shape: Sequence[Any]) -> Tensor:
    """Another shape for the same elements, in their order (images: NHWC).

    Args:
        x: any tensor.
        shape: one size may be -1; it has to be the first when the batch size is not known.
    """
    return _unary("reshape", x, shape=shape)


def flatten(x: Any) -> Tensor:
    """[batch, elements of a row], in NHWC order."""
    x = as_tensor(x, "flatten")
    size = 1
    for one in x.shape[1:]:
        size *= one or 1
    return reshape(x, (-1 if x.shape[0] is None else x.shape[0], size))


def squeeze(x: Any, axes: Any = None) -> Tensor:
    """Removes dimensions of size 1; None: all such."""
    return _unary("squeeze", x, axes=axes)


def expand_dims(x: Any, axis: int) -> Tensor:
    """Adds a dimension of size 1."""
    return _unary("expand_dims", x, axis=axis)


def transpose(x: Any, axes: Sequence[int]) -> Tensor:
    """Puts the dimensions into another order."""
    return _unary("transpose", x, axes=axes)


def concat(tensors: Sequence[Any], axis: int = -1) -> Tensor:
    """Joins tensors along a dimension; the last one holds the channels."""
    if not tensors:
        raise SpecError("nn.concat: expected at least one tensor, got an empty list.")
    inputs = [as_tensor(one, "concat") for one in tensors]
    return active_graph("concat").add("concat", inputs, {"axis": axis})


def split(x: Any, parts: int | Sequence[int], *, axis: int = -1) -> list[Tensor]:
    """Cuts a tensor into equal parts, or into parts of the sizes given."""
    x = as_tensor(x, "split")
    size = x.shape[axis]
    if isinstance(parts, int) and size is not None and parts > 0 and size % parts == 0:
        sizes = [size // parts] * parts
    else:
        sizes = [parts] if isinstance(parts, int) else list(parts)
    if sum(sizes) != size:
        raise active_graph("split").error(
            "split", Misfit(f"parts that make up {size} in dimension {axis}", parts)
        )
    pieces, begin = [], 0
    for one in sizes:
        key = [slice(None)] * x.rank
        key[axis] = slice(begin, begin + one)
        pieces.append(index(x, tuple(key)))
        begin += one
    return pieces


def pad(x: Any, paddings: Sequence[tuple[int, int]], *, value: float = 0.0) -> Tensor:
    """Adds a border: for each dimension how much before and after."""
    return _unary("pad", x, paddings=paddings, value=value)


def tile(x: Any, multiples: Sequence[int]) -> Tensor:
    """Repeats a tensor along each dimension."""
    return _unary("tile", x, multiples=multiples)


def index(x: Tensor, key: Any) -> Tensor:
    """What `x[key]` means: numbers, slices with positive steps, and `...`."""
    keys = list(key) if isinstance(key, tuple) else [key]
    fits = all(one is Ellipsis or type(one) in (int, slice) for one in keys)
    if not fits or keys.count(Ellipsis) > 1 or len(keys) - keys.count(Ellipsis) > x.rank:
        raise active_graph("slice").error(
            "slice", Misfit(f"at most {x.rank} numbers, slices and one `...`", repr(key))
        )
    at = keys.index(Ellipsis) if Ellipsis in keys else len(keys)
    missing = x.rank - (len(keys) - keys.count(Ellipsis))
    keys[at : at + 1] = [slice(None)] * missing
    removed = tuple(axis for axis, one in enumerate(keys) if isinstance(one, int))
    slices = [
        slice(one, one + 1 if one != -1 else None) if isinstance(one, int) else one for one in keys
    ]
    sliced = _unary(
        "slice",
        x,
        begin=tuple(one.start or 0 for one in slices),
        end=tuple(one.stop for one in slices),
        strides=tuple(1 if one.step is None else one.step for one in slices),
    )
    return squeeze(sliced, removed) if removed else sliced


# ---- Reductions ----------------------------------------------------------------------------------


def reduce_sum(x: Any, axes: Any = None, *, keepdims: bool = False) -> Tensor:
    """The sum over some dimensions; None: over all, which gives a scalar."""
    return _unary("reduce_sum", x, axes=axes, keepdims=keepdims)


def reduce_mean(x: Any, axes: Any = None, *, keepdims: bool = False) -> Tensor:
    """The mean over some dimensions; None: over all, which gives a scalar."""
    return _unary("reduce_mean", x, axes=axes, keepdims=keepdims)


def reduce_max(x: Any, axes: Any = None, *, keepdims: bool = False) -> Tensor:
    """The maximum over some dimensions; None: over all, which gives a scalar."""
    return _unary("reduce_max", x, axes=axes, keepdims=keepdims)


def reduce_min(x: Any, axes: Any = None, *, keepdims: bool = False) -> Tensor:
    """The minimum over some dimensions; None: over all, which gives a scalar."""
    return _unary("reduce_min", x, axes=axes, keepdims=keepdims)


def l2_loss(x: Any) -> Tensor:
    """Half the sum of all squares, a scalar."""
    return _unary("l2_loss", x)


def l1_loss(x: Any) -> Tensor:
    """The sum of all absolute values, a scalar."""
    return _unary("l1_loss", x)


def argmax(x: Any, axis: int = -1) -> Tensor:
    """The place of the largest value along a dimension, int64; the first one of equals."""
    return _unary("argmax", x, axis=axis)


def one_hot(labels: Any, depth: int, *, dtype: str = "float32") -> Tensor:
    """[..., depth] with 1 at the label and 0 elsewhere."""
    return _unary("one_hot", labels, depth=depth, dtype=dtype)


def softmax(x: Any) -> Tensor:
    """Probabilities over the last dimension."""
    return _unary("softmax", x)


def log_softmax(x: Any) -> Tensor:
    """The logarithms of the probabilities over the last dimension."""
    return _unary("log_softmax", x)


def in_top_k(logits: Any, labels: Any, k: int) -> Tensor:
    """Whether fewer than k logits of a row are larger than the label's, a bool tensor."""
    inputs = (as_tensor(logits, "in_top_k"), as_tensor(labels, "in_top_k"))
    return active_graph("in_top_k").add("in_top_k", inputs, {"k": k})
