"""Learning-rate schedules: pure functions of the global step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Real
from typing import Any

from mox_core.errors import SpecError
from mox_core.optim.ops import Ops, python_ops

__all__ = [
    "Constant",
    "LinearCosineDecay",
    "PolynomialDecay",
    "Schedule",
    "WarmUp",
    "as_schedule",
    "constant",
    "linear_cosine_decay",
    "polynomial_decay",
    "warm_up",
]


class Schedule(ABC):
    """A learning rate that depends on the global step.

    Subclasses are frozen dataclasses and write their formula once, in `evaluate`.
    """

    def __call__(self, step: float) -> float:
        """Return the learning rate at a global step (0 for the first)."""
        return float(self.evaluate(step))

    @abstractmethod
    def evaluate(self, step: Any, ops: Ops = python_ops) -> Any:
        """Return the learning rate in the values of an engine.

        Args:
            step: the global step, a number or the engine's scalar of any numeric type.
            ops: the engine's operations.
        """


@dataclass(frozen=True)
class Constant(Schedule):
    """The same learning rate at every step."""

    learning_rate: float

    def evaluate(self, step: Any, ops: Ops = python_ops) -> Any:
        """Return the learning rate, whatever the step."""
        return ops.to_float(self.learning_rate)


@dataclass(frozen=True)
class LinearCosineDecay(Schedule):
    """See `linear_cosine_decay`."""

    learning_rate: float
    decay_steps: float
    num_periods: float
    alpha: float
    beta: float

    def evaluate(self, step: Any, ops: Ops = python_ops) -> Any:
        """Return the learning rate at a step."""
        done = ops.minimum(ops.to_float(step), float(self.decay_steps)) / self.decay_steps
        cosine = 0.5 * (1.0 + ops.cos(2.0 * math.pi * self.num_periods * done))
        return self.learning_rate * ((self.alpha + 1.0 - done) * cosine + self.beta)


@dataclass(frozen=True)
class PolynomialDecay(Schedule):
    """See `polynomial_decay`."""

    learning_rate: float
    decay_steps: float
    end_learning_rate: float
    power: float
    cycle: bool

    def evaluate(self, step: Any, ops: Ops = python_ops) -> Any:
        """Return the learning rate at a step."""
        done = ops.to_float(step) / self.decay_steps
        cycles = ops.maximum(ops.ceil(done), 1.0) if self.cycle else 1.0
        left = 1.0 - ops.minimum(done, cycles) / cycles
        span = self.learning_rate - self.end_learning_rate
        return span * ops.power(left, self.power) + self.end_learning_rate


@dataclass(frozen=True)
class WarmUp(Schedule):
    """See `warm_up`."""

    inner: Schedule
    steps: float
    start: float

    def evaluate(self, step: Any, ops: Ops = python_ops) -> Any:
        """Return the learning rate at a step."""
        step = ops.to_float(step)
        ramp = self.start + (self.inner(self.steps) - self.start) * (step / self.steps)
        return ops.where(ops.less(step, float(self.steps)), ramp, self.inner.evaluate(step, ops))


def constant(learning_rate: float) -> Schedule:
    """Return the schedule that always has one value.

    Raises:
        SpecError: not a number, negative or not finite.
    """
    return Constant(_rate("learning_rate", learning_rate))


def linear_cosine_decay(
    learning_rate: float,
    decay_steps: float,
    *,
    num_periods: float = 0.5,
    alpha: float = 0.0,
    beta: float = 0.001,
) -> Schedule:
    """Return a linear decay multiplied by a cosine, as TensorFlow 1 computes it.

    With `d = min(step, decay_steps) / decay_steps` the learning rate is
    `learning_rate * ((alpha + 1 - d) * (1 + cos(2 pi num_periods d)) / 2 + beta)`.

    Args:
        learning_rate: factor of the whole formula.
        decay_steps: steps until the decay ends; its last value holds afterwards.
        num_periods: periods of the cosine within the decay.
        alpha: added to the linear part.
        beta: added to the product.

    Raises:
        SpecError: an argument that is no number or does not make sense.

    Source: Bello et al., Neural Optimizer Search with Reinforcement Learning, ICML 2017.
    """
    return LinearCosineDecay(
        _rate("learning_rate", learning_rate),
        _positive("decay_steps", decay_steps),
        _number("num_periods", num_periods),
        _number("alpha", alpha),
        _number("beta", beta),
    )


def polynomial_decay(
    learning_rate: float,
    decay_steps: float,
    *,
    end_learning_rate: float = 0.0001,
    power: float = 1.0,
    cycle: bool = False,
) -> Schedule:
    """Return a polynomial decay from one learning rate to another, as TensorFlow 1 computes it.

    With `d = min(step, decay_steps) / decay_steps` the learning rate is
    `(learning_rate - end_learning_rate) * (1 - d) ** power + end_learning_rate`.

    Args:
        learning_rate: value at step 0.
        decay_steps: steps until `end_learning_rate`.
        end_learning_rate: value from there on.
        power: exponent; 1 is a straight line.
        cycle: after `decay_steps` go on with the smallest multiple of `decay_steps` that is
            not below the step, instead of staying at the end.

    Raises:
        SpecError: an argument that is no number or does not make sense.
    """
    return PolynomialDecay(
        _rate("learning_rate", learning_rate),
        _positive("decay_steps", decay_steps),
        _rate("end_learning_rate", end_learning_rate),
        _positive("power", power),
        bool(cycle),
    )


def warm_up(schedule: Schedule | float, steps: float, *, start: float = 0.0) -> Schedule:
    """Return a schedule that first rises in a straight line, then follows another one.

    Args:
        schedule: what holds from `steps` on, at the same global step; or its constant value.
        steps: length of the rise; at its end it meets `schedule`. 0: no warm-up.
        start: learning rate at step 0.

    Raises:
        SpecError: an argument that is no number or is negative.
    """
    inner = as_schedule(schedule)
    if _rate("steps", steps) == 0:
        return inner
    return WarmUp(inner, float(steps), _rate("start", start))


def as_schedule(learning_rate: Schedule | float) -> Schedule:
    """Return a schedule as it is, and a number as a constant one.

    Raises:
        SpecError: neither of both.
    """
    if isinstance(learning_rate, Schedule):
        return learning_rate
    return constant(learning_rate)


def _number(name: str, value: Any) -> float:
    if not isinstance(value, Real) or not math.isfinite(value):
        raise SpecError(f"{name} must be a finite number, not {value!r}")
    return float(value)


def _rate(name: str, value: Any) -> float:
    if _number(name, value) < 0:
        raise SpecError(f"{name} must not be negative: {value!r}")
    return float(value)


def _positive(name: str, value: Any) -> float:
    if _number(name, value) <= 0:
        raise SpecError(f"{name} must be greater than 0: {value!r}")
    return float(value)
