"""First values of variables: a short list of specs, drawn by NumPy from the variable's name.

The name and a seed decide the values, so every engine begins with the same ones, whatever order
it makes variables in.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mox_core.errors import SpecError

if TYPE_CHECKING:
    from mox_core.nn.tensor import Variable

__all__ = [
    "Constant",
    "Initializer",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "constant",
    "he_normal",
    "initial_value",
    "ones",
    "random_normal",
    "random_uniform",
    "truncated_normal",
    "xavier",
    "zeros",
]


class Initializer:
    """Base of all initializers; subclasses are frozen dataclasses."""

    def draw(self, shape: tuple[int, ...], random: Any) -> Any:
        """Returns a float64 array of this shape.

        Args:
            shape: of the variable.
            random: a `numpy.random.Generator`.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Constant(Initializer):
    """The same value everywhere, or an array (as nested tuples) of the variable's shape."""

    value: Any

    def draw(self, shape: tuple[int, ...], random: Any) -> Any:
        """Returns the value, repeated."""
        import numpy as np

        return np.broadcast_to(np.asarray(self.value, dtype=np.float64), shape).copy()


@dataclass(frozen=True)
class RandomNormal(Initializer):
    """Normally distributed."""

    mean: float
    stddev: float

    def draw(self, shape: tuple[int, ...], random: Any) -> Any:
        """Returns the values."""
        return random.normal(self.mean, self.stddev, shape)


@dataclass(frozen=True)
class TruncatedNormal(Initializer):
    """Normally distributed; what lies more than two standard deviations off is drawn again."""

    mean: float
    stddev: float

    def draw(self, shape: tuple[int, ...], random: Any) -> Any:
        """Returns the values."""
        import numpy as np

        values = random.standard_normal(shape)
        while (outside := np.abs(values) > 2).any():
            values = np.where(outside, random.standard_normal(shape), values)
        return self.mean + self.stddev * values


@dataclass(frozen=True)
class RandomUniform(Initializer):
    """Uniformly distributed."""

    low: float
    high: float

    def draw(self, shape: tuple[int, ...], random: Any) -> Any:
        """Returns the values."""
        return random.uniform(self.low, self.high, shape)


# The standard deviation of a standard normal distribution that is cut off at two of its own.
_TRUNCATED_STDDEV = 0.87962566103423978


@dataclass(frozen=True)
class VarianceScaling(Initializer):
    """Values with the variance `scale / n`, where n counts a unit's inputs, outputs or both.

    Args:
        scale: the factor.
        mode: `"fan_in"`, `"fan_out"`, or `"fan_avg"` (their mean).
        distribution: `"uniform"`, `"normal"` or `"truncated_normal"`.

    Source: Glorot and Bengio, Understanding the difficulty of training deep feedforward neural
    networks, AISTATS 2010; He et al., Delving deep into rectifiers, ICCV 2015.
    """

    scale: float
    mode: str
    distribution: str

    def draw(self, shape: tuple[int, ...], random: Any) -> Any:
        """Returns the values."""
        fan_in, fan_out = _fans(shape)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        stddev = math.sqrt(self.scale / max(n, 1.0))
        if self.distribution == "uniform":
            limit = stddev * math.sqrt(3)
            return random.uniform(-limit, limit, shape)
        if self.distribution == "normal":
            return random.normal(0.0, stddev, shape)
        return TruncatedNormal(0.0, stddev / _TRUNCATED_STDDEV).draw(shape, random)


def _fans(shape: tuple[int, ...]) -> tuple[float, float]:
    """How many values a unit reads and feeds, for weights [..., inputs, outputs]."""
    if not shape:
        return 1.0, 1.0
    if len(shape) == 1:
        return float(shape[0]), float(shape[0])
    field = math.prod(shape[:-2])
    return float(shape[-2] * field), float(shape[-1] * field)


zeros = Constant(0.0)
ones = Constant(1.0)


def constant(value: Any) -> Initializer:
    """Returns the initializer to one number, or to an array of the variable's shape."""
    return Constant(value)


def random_normal(stddev: float = 0.05, *, mean: float = 0.0) -> Initializer:
    """Returns an initializer with normally distributed values."""
    return RandomNormal(mean, stddev)


def truncated_normal(stddev: float = 0.05, *, mean: float = 0.0) -> Initializer:
    """Returns one with normally distributed values, none beyond two standard deviations."""
    return TruncatedNormal(mean, stddev)


def random_uniform(low: float = -0.05, high: float = 0.05) -> Initializer:
    """Returns an initializer with uniformly distributed values."""
    return RandomUniform(low, high)


def xavier(*, uniform: bool = True) -> Initializer:
    """Returns Glorot and Bengio's initializer, the default of the layers' weights."""
    return VarianceScaling(1.0, "fan_avg", "uniform" if uniform else "truncated_normal")


def he_normal() -> Initializer:
    """Returns He's initializer for layers in front of a ReLU."""
    return VarianceScaling(2.0, "fan_in", "truncated_normal")


def initial_value(variable: Variable, *, seed: int = 0) -> Any:
    """Returns the first value of a variable, a NumPy array of its shape and dtype.

    Args:
        variable: any; its name decides which values are drawn.
        seed: another seed, other values.

    Raises:
        SpecError: the initializer's value does not fit the shape.
    """
    import numpy as np

    random = np.random.default_rng([seed, zlib.crc32(variable.name.encode())])
    shape = tuple(size for size in variable.shape if size is not None)
    try:
        value = variable.initializer.draw(shape, random)
    except ValueError as error:
        raise SpecError(
            f"variable {variable.name!r} of shape {shape} cannot begin as "
            f"{variable.initializer}: {error}."
        ) from error
    # NumPy has no bfloat16; an engine casts when it copies the value.
    return value.astype("float32" if variable.dtype == "bfloat16" else variable.dtype)
