"""The reference for optimizers: the update rules of TensorFlow 1 in NumPy.

`docs/nn.md` has the formulas; the names of slots are those of `OptimizerSpec.slots`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mox_core.optim import OptimizerSpec
from mox_core.testing.nn_reference import Array

__all__ = ["next_scalars", "update_variable"]

Slots = dict[str, Any]
Parameters = Mapping[str, Any]


def update_variable(
    spec: OptimizerSpec,
    value: Array,
    gradient: Array,
    slots: Slots,
    *,
    scalars: Mapping[str, Any],
    step: int,
) -> Array:
    """Returns the next value of a variable.

    Args:
        spec: the optimizer.
        value: of the variable.
        gradient: of the same shape.
        slots: role -> the optimizer's state for this variable; replaced by their next values.
        scalars: the state of the optimizer as a whole.
        step: the global step, 0 for the first.
    """
    rate = spec.learning_rate(step)
    powers = dict(zip(spec.for_loss(0).scalars, scalars.values(), strict=True))
    change = _RULES[spec.name](value, gradient, slots, {**spec.parameters, **powers}, rate)
    return np.asarray((value - change).astype(value.dtype))


def next_scalars(spec: OptimizerSpec, scalars: Mapping[str, Any]) -> dict[str, Any]:
    """The state of the optimizer as a whole after a step."""
    # The powers of Adam's betas, which begin as the betas.
    return {name: scalars[name] * beta for name, beta in spec.scalars.items()}


def _sgd(value: Array, g: Array, slots: Slots, p: Parameters, rate: float) -> Any:
    return rate * g


def _momentum(value: Array, g: Array, slots: Slots, p: Parameters, rate: float) -> Any:
    velocity = slots["velocity"] = p["momentum"] * slots["velocity"] + g
    return rate * (g + p["momentum"] * velocity) if p["use_nesterov"] else rate * velocity


def _adam(value: Array, g: Array, slots: Slots, p: Parameters, rate: float) -> Any:
    m = slots["m"] = p["beta1"] * slots["m"] + (1 - p["beta1"]) * g
    v = slots["v"] = p["beta2"] * slots["v"] + (1 - p["beta2"]) * g * g
    rate *= np.sqrt(1 - p["beta2_power"]) / (1 - p["beta1_power"])
    return rate * m / (np.sqrt(v) + p["epsilon"])


def _rmsprop(value: Array, g: Array, slots: Slots, p: Parameters, rate: float) -> Any:
    rms = slots["rms"] = p["decay"] * slots["rms"] + (1 - p["decay"]) * g * g
    if p["centered"]:
        mean = slots["mean"] = p["decay"] * slots["mean"] + (1 - p["decay"]) * g
        rms = rms - mean * mean
    slots["velocity"] = p["momentum"] * slots["velocity"] + rate * g / np.sqrt(rms + p["epsilon"])
    return slots["velocity"]


def _adagrad(value: Array, g: Array, slots: Slots, p: Parameters, rate: float) -> Any:
    accumulator = slots["accumulator"] = slots["accumulator"] + g * g
    return rate * g / np.sqrt(accumulator)


def _adadelta(value: Array, g: Array, slots: Slots, p: Parameters, rate: float) -> Any:
    rho, epsilon = p["rho"], p["epsilon"]
    accumulator = slots["accumulator"] = rho * slots["accumulator"] + (1 - rho) * g * g
    change = g * np.sqrt(slots["delta"] + epsilon) / np.sqrt(accumulator + epsilon)
    slots["delta"] = rho * slots["delta"] + (1 - rho) * change * change
    return rate * change


def _ftrl(value: Array, g: Array, slots: Slots, p: Parameters, rate: float) -> Any:
    exponent = -p["learning_rate_power"]
    l1, l2 = p["l1_regularization_strength"], p["l2_regularization_strength"]
    old = slots["accumulator"]
    new = slots["accumulator"] = old + g * g
    shrunk = g + 2 * p["l2_shrinkage_regularization_strength"] * value
    linear = slots["linear"] + shrunk - (new**exponent - old**exponent) / rate * value
    slots["linear"] = linear
    return value - (np.clip(linear, -l1, l1) - linear) / (new**exponent / rate + 2 * l2)


_RULES: Mapping[str, Callable[[Array, Array, Slots, Parameters, float], Any]] = {
    "adadelta": _adadelta,
    "adagrad": _adagrad,
    "adam": _adam,
    "ftrl": _ftrl,
    "momentum": _momentum,
    "rmsprop": _rmsprop,
    "sgd": _sgd,
}
