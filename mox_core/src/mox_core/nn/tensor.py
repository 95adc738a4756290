"""Tensor and Variable: the nodes of a neutral graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from mox_core.nn.initializers import Initializer

__all__ = ["FLOATS", "INTEGERS", "Shape", "Tensor", "Variable"]

Shape = tuple["int | None", ...]
"""Sizes of the dimensions. Only the first may be None: a batch of any size."""

FLOATS = ("bfloat16", "float16", "float32", "float64")
INTEGERS = ("uint8", "int32", "int64")


@dataclass(frozen=True, eq=False)
class Tensor:
    """The result of one operation of a graph; it has a shape and a dtype, but no value.

    Numbers and NumPy arrays may stand on the other side of `+ - * / ** @`. Two tensors are equal
    only when they are the same object; compare values with `nn.equal`.

    Args:
        op: what makes it, a name in `OPERATIONS`.
        inputs: what that is applied to; None for an optional input that is left out.
        attrs: its attributes, all of them, as plain Python values.
        shape: sizes of the dimensions.
        dtype: such as `"float32"`.
        name: unique in its graph; begins with its scope.
    """

    op: str
    inputs: tuple[Tensor | None, ...]
    attrs: Mapping[str, Any]
    shape: Shape
    dtype: str
    name: str

    @property
    def rank(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    def __repr__(self) -> str:
        return f"<nn.{type(self).__name__} {self.name!r} {self.shape} {self.dtype}>"

    def __add__(self, other: Any) -> Tensor:
        return _binary("add", self, other)

    def __radd__(self, other: Any) -> Tensor:
        return _binary("add", other, self)

    def __sub__(self, other: Any) -> Tensor:
        return _binary("subtract", self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return _binary("subtract", other, self)

    def __mul__(self, other: Any) -> Tensor:
        return _binary("multiply", self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return _binary("multiply", other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return _binary("divide", self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return _binary("divide", other, self)

    def __pow__(self, other: Any) -> Tensor:
        return _binary("power", self, other)

    def __matmul__(self, other: Any) -> Tensor:
        return _binary("matmul", self, other)

    def __neg__(self) -> Tensor:
        from mox_core.nn import ops

        return ops.negative(self)

    def __getitem__(self, key: Any) -> Tensor:
        from mox_core.nn import ops

        return ops.index(self, key)

    # NumPy arrays on the left then leave the operation to the methods above.
    __array_ufunc__ = None

    def _no_value(self, *arguments: object) -> NoReturn:
        raise TypeError(
            f"{self.name} (shape {self.shape}) has no value while model_fn builds the graph.\n"
            "  Decide with plain Python values, or compute with mox.nn operations."
        )

    __bool__ = __float__ = __int__ = __iter__ = __len__ = __array__ = _no_value


@dataclass(frozen=True, eq=False, repr=False)
class Variable(Tensor):
    """A tensor that training changes, and that checkpoints hold under its name.

    Args:
        initializer: its first value.
        trainable: whether optimizers update it.
    """

    initializer: Initializer
    trainable: bool


def _binary(op: str, left: Any, right: Any) -> Tensor:
    from mox_core.nn import ops

    function = getattr(ops, op)
    result: Tensor = function(left, right)
    return result
