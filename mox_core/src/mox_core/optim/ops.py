"""The operations that schedules are written in.

An engine gives its own `Ops`, and the same formula becomes tensors in its graph.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

__all__ = ["Ops", "python_ops"]


class Ops(Protocol):
    """What a schedule needs besides `+ - * /` on the engine's values.

    Values are scalars (or arrays of steps) of a floating-point type; arguments may be plain
    Python numbers. `where` may compute both of its alternatives.
    """

    def to_float(self, value: Any) -> Any:
        """Return the value as a floating-point number or tensor."""

    def where(self, condition: Any, then: Any, otherwise: Any) -> Any:
        """Return `then` where the condition holds, else `otherwise`."""

    def less(self, left: Any, right: Any) -> Any:
        """Return whether `left < right`."""

    def minimum(self, left: Any, right: Any) -> Any:
        """Return the smaller value."""

    def maximum(self, left: Any, right: Any) -> Any:
        """Return the larger value."""

    def ceil(self, value: Any) -> Any:
        """Return the smallest integer not below the value, as a floating-point number."""

    def power(self, base: Any, exponent: Any) -> Any:
        """Return `base ** exponent`."""

    def cos(self, radians: Any) -> Any:
        """Return the cosine."""


class _PythonOps:
    """Python's floats."""

    def to_float(self, value: Any) -> Any:
        return float(value)

    def where(self, condition: Any, then: Any, otherwise: Any) -> Any:
        return then if condition else otherwise

    def less(self, left: Any, right: Any) -> Any:
        return left < right

    def minimum(self, left: Any, right: Any) -> Any:
        return min(left, right)

    def maximum(self, left: Any, right: Any) -> Any:
        return max(left, right)

    def ceil(self, value: Any) -> Any:
        return float(math.ceil(value))

    def power(self, base: Any, exponent: Any) -> Any:
        return base**exponent

    def cos(self, radians: Any) -> Any:
        return math.cos(radians)


python_ops: Ops = _PythonOps()
