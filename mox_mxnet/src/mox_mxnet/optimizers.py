"""The optimizers of `mox.get_optimizer_fn`, with TensorFlow 1's formulas.

MXNet's own optimizers have other formulas (momentum holds the learning rate, Adam's numbers are
rounded to float32), so that a neutral script would not go on equally on another engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mox_core.optim.spec import OptimizerSpec
from mox_mxnet.arithmetic import add_scaled, move_towards
from mox_mxnet.importing import load

__all__ = ["NeutralOptimizer"]

nd = load().nd

Arrays = list[Any]
Slots = Mapping[str, Arrays]
Parameters = Mapping[str, Any]


class NeutralOptimizer:
    """An OptimizerSpec over some variables.

    Args:
        spec: what it does.
        weights: the arrays that it updates.

    Attributes:
        slots: role -> array of each weight.
        scalars: name in checkpoints -> number.
    """

    def __init__(self, spec: OptimizerSpec, weights: Sequence[Any]) -> None:
        self.spec = spec
        self._weights = list(weights)
        self.slots: dict[str, Arrays] = {
            slot.role: [
                nd.full(one.shape, slot.initial, ctx=one.context, dtype=one.dtype)
                for one in weights
            ]
            for slot in spec.slots
        }
        self.scalars: dict[str, float] = dict(spec.scalars)

    def step(self, gradients: Sequence[Any], global_step: int) -> None:
        """Updates all weights."""
        spec = self.spec
        rate = float(spec.learning_rate(global_step))
        update = _RULES[spec.name]
        powers = dict(zip(spec.for_loss(0).scalars, self.scalars.values(), strict=True))
        update(self._weights, list(gradients), self.slots, rate, {**spec.parameters, **powers})
        for name, beta in spec.scalars.items():
            self.scalars[name] *= beta


def _averaged(targets: Arrays, values: Arrays, decay: float) -> None:
    """`target = decay * target + (1 - decay) * value`."""
    move_towards(targets, values, [(1.0 - decay, 1.0)] * len(targets))


def _squares(gradients: Arrays) -> Arrays:
    return [nd.square(one) for one in gradients]


def _sgd(w: Arrays, g: Arrays, slots: Slots, rate: float, p: Parameters) -> None:
    add_scaled(w, g, -rate)


def _momentum(w: Arrays, g: Arrays, slots: Slots, rate: float, p: Parameters) -> None:
    velocity, momentum = slots["velocity"], p["momentum"]
    if momentum == 1.0:
        add_scaled(velocity, g, 1.0)
    else:
        # momentum * v + g, as a mean of v and a multiple of g
        move_towards(velocity, g, [(1.0 - momentum, 1.0 / (1.0 - momentum))] * len(w))
    if p["use_nesterov"]:
        add_scaled(w, g, -rate)
        add_scaled(w, velocity, -rate * momentum)
    else:
        add_scaled(w, velocity, -rate)


def _adam(w: Arrays, g: Arrays, slots: Slots, rate: float, p: Parameters) -> None:
    mean, square = slots["m"], slots["v"]
    _averaged(mean, g, p["beta1"])
    _averaged(square, _squares(g), p["beta2"])
    rate *= (1.0 - p["beta2_power"]) ** 0.5 / (1.0 - p["beta1_power"])
    changes = [m / (nd.sqrt(v) + p["epsilon"]) for m, v in zip(mean, square, strict=True)]
    add_scaled(w, changes, -rate)


def _adagrad(w: Arrays, g: Arrays, slots: Slots, rate: float, p: Parameters) -> None:
    total = slots["accumulator"]
    add_scaled(total, _squares(g), 1.0)
    add_scaled(w, [one / nd.sqrt(a) for one, a in zip(g, total, strict=True)], -rate)


def _adadelta(w: Arrays, g: Arrays, slots: Slots, rate: float, p: Parameters) -> None:
    square, moved, epsilon = slots["accumulator"], slots["delta"], p["epsilon"]
    _averaged(square, _squares(g), p["rho"])
    changes = [
        one * nd.sqrt((d + epsilon) / (a + epsilon))
        for one, a, d in zip(g, square, moved, strict=True)
    ]
    _averaged(moved, _squares(changes), p["rho"])
    add_scaled(w, changes, -rate)


def _rmsprop(w: Arrays, g: Arrays, slots: Slots, rate: float, p: Parameters) -> None:
    square, velocity = slots["rms"], slots["velocity"]
    _averaged(square, _squares(g), p["decay"])
    below = square
    if p["centered"]:
        _averaged(slots["mean"], g, p["decay"])
        below = [s - nd.square(m) for s, m in zip(square, slots["mean"], strict=True)]
    for v, one, b in zip(velocity, g, below, strict=True):
        v *= p["momentum"]
        v += rate * one / nd.sqrt(b + p["epsilon"])
    add_scaled(w, velocity, -1.0)


def _ftrl(w: Arrays, g: Arrays, slots: Slots, rate: float, p: Parameters) -> None:
    power = -p["learning_rate_power"]
    l1, l2 = p["l1_regularization_strength"], p["l2_regularization_strength"]
    shrinkage = p["l2_shrinkage_regularization_strength"]
    for value, gradient, total, linear in zip(
        w, g, slots["accumulator"], slots["linear"], strict=True
    ):
        before = total**power
        total += nd.square(gradient)
        after = total**power
        linear += gradient + 2.0 * shrinkage * value - (after - before) / rate * value
        shrunk = (nd.sign(linear) * l1 - linear) / (after / rate + 2.0 * l2)
        value[:] = nd.where(nd.abs(linear) > l1, shrunk, nd.zeros_like(shrunk))


_RULES: Mapping[str, Callable[[Arrays, Arrays, Slots, float, Parameters], None]] = {
    "adadelta": _adadelta,
    "adagrad": _adagrad,
    "adam": _adam,
    "ftrl": _ftrl,
    "momentum": _momentum,
    "rmsprop": _rmsprop,
    "sgd": _sgd,
}
