"""The optimizers of `mox.get_optimizer_fn`, with TensorFlow 1's formulas.

They are `torch.optim.Optimizer`s; their state has TensorFlow's names, so that it fits a checkpoint
of another engine. Native ones of `torch.optim` have PyTorch's formulas, which differ for Adam and
RMSProp in where epsilon stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from mox_core.optim.spec import OptimizerSpec

__all__ = ["TensorFlowOptimizer", "make_optimizer"]

Tensors = list[torch.Tensor]


def make_optimizer(spec: OptimizerSpec, parameters: Iterable[nn.Parameter]) -> TensorFlowOptimizer:
    """Makes the optimizer that a spec describes; its learning rate is that of step 0."""
    return _CLASSES[spec.name](parameters, spec.learning_rate(0), dict(spec.parameters))


class TensorFlowOptimizer(torch.optim.Optimizer):
    """Base of the optimizers with TensorFlow 1's formulas.

    Args:
        params: parameters, or groups of them.
        lr: learning rate; set `param_groups[i]["lr"]` to change it.
        options: the other numbers of the formula.

    Attributes:
        slots: name -> first value of each array of a parameter's shape that it keeps.
        scalars: name -> number that it keeps besides, a float64 tensor.
    """

    slots: ClassVar[Mapping[str, float]] = {}

    def __init__(self, params: Any, lr: float, options: Mapping[str, Any]) -> None:
        super().__init__(params, {"lr": lr, **options})
        self.scalars: dict[str, torch.Tensor] = {}
        for group in self.param_groups:
            first = self.first_values(group)
            for parameter in group["params"]:
                self.state[parameter] = {
                    slot: torch.full_like(parameter, value, requires_grad=False)
                    for slot, value in first.items()
                }

    def first_values(self, group: Mapping[str, Any]) -> Mapping[str, float]:
        """The slots that a group of parameters needs."""
        return self.slots

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Updates all parameters that have a gradient."""
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                states = [self.state[p] for p in params]
                slots = {slot: [s[slot] for s in states] for slot in states[0]}
                self.update(group, params, [p.grad for p in params], slots)
        self.advance()

    def update(
        self, group: Mapping[str, Any], params: Tensors, grads: Tensors, slots: dict[str, Tensors]
    ) -> None:
        """Changes `params` and `slots` in place."""
        raise NotImplementedError

    def advance(self) -> None:
        """Changes `scalars` after a step."""


class _Sgd(TensorFlowOptimizer):
    def update(
        self, group: Mapping[str, Any], params: Tensors, grads: Tensors, slots: dict[str, Tensors]
    ) -> None:
        torch._foreach_add_(params, grads, alpha=-group["lr"])


class _Momentum(TensorFlowOptimizer):
    slots = {"Momentum": 0.0}

    def update(
        self, group: Mapping[str, Any], params: Tensors, grads: Tensors, slots: dict[str, Tensors]
    ) -> None:
        velocity, rate, momentum = slots["Momentum"], group["lr"], group["momentum"]
        torch._foreach_mul_(velocity, momentum)
        torch._foreach_add_(velocity, grads)
        if group["use_nesterov"]:
            torch._foreach_add_(params, grads, alpha=-rate)
            torch._foreach_add_(params, velocity, alpha=-rate * momentum)
        else:
            torch._foreach_add_(params, velocity, alpha=-rate)


class _Adam(TensorFlowOptimizer):
    slots = {"Adam": 0.0, "Adam_1": 0.0}

    def __init__(self, params: Any, lr: float, options: Mapping[str, Any]) -> None:
        super().__init__(params, lr, options)
        self._betas = (float(options["beta1"]), float(options["beta2"]))
        self.scalars = {
            f"beta{i + 1}_power": torch.tensor(beta, dtype=torch.float64)
            for i, beta in enumerate(self._betas)
        }

    def update(
        self, group: Mapping[str, Any], params: Tensors, grads: Tensors, slots: dict[str, Tensors]
    ) -> None:
        beta1, beta2 = self._betas
        mean, square = slots["Adam"], slots["Adam_1"]
        power1, power2 = (power.item() for power in self.scalars.values())
        rate = group["lr"] * (1 - power2) ** 0.5 / (1 - power1)
        torch._foreach_lerp_(mean, grads, 1 - beta1)
        torch._foreach_mul_(square, beta2)
        torch._foreach_addcmul_(square, grads, grads, 1 - beta2)
        below = torch._foreach_sqrt(square)
        torch._foreach_add_(below, group["epsilon"])
        torch._foreach_addcdiv_(params, mean, below, -rate)

    def advance(self) -> None:
        for power, beta in zip(self.scalars.values(), self._betas, strict=True):
            power.mul_(beta)


class _Adagrad(TensorFlowOptimizer):
    def first_values(self, group: Mapping[str, Any]) -> Mapping[str, float]:
        return {"Adagrad": group["initial_accumulator_value"]}

    def update(
        self, group: Mapping[str, Any], params: Tensors, grads: Tensors, slots: dict[str, Tensors]
    ) -> None:
        total = slots["Adagrad"]
        torch._foreach_addcmul_(total, grads, grads)
        torch._foreach_addcdiv_(params, grads, torch._foreach_sqrt(total), -group["lr"])


class _Adadelta(TensorFlowOptimizer):
    slots = {"Adadelta": 0.0, "Adadelta_1": 0.0}

    def update(
        self, group: Mapping[str, Any], params: Tensors, grads: Tensors, slots: dict[str, Tensors]
    ) -> None:
        rho, epsilon = group["rho"], group["epsilon"]
        square, moved = slots["Adadelta"], slots["Adadelta_1"]
        torch._foreach_mul_(square, rho)
        torch._foreach_addcmul_(square, grads, grads, 1 - rho)
        change = torch._foreach_add(moved, epsilon)
        torch._foreach_div_(change, torch._foreach_add(square, epsilon))
        torch._foreach_sqrt_(change)
        torch._foreach_mul_(change, grads)
        torch._foreach_mul_(moved, rho)
        torch._foreach_addcmul_(moved, change, change, 1 - rho)
        torch._foreach_add_(params, change, alpha=-group["lr"])


class _RmsProp(TensorFlowOptimizer):
    def first_values(self, group: Mapping[str, Any]) -> Mapping[str, float]:
        if group["centered"]:
            return {"RMSProp": 1.0, "RMSProp_1": 0.0, "RMSProp_2": 0.0}
        return {"RMSProp": 1.0, "RMSProp_1": 0.0}

    def update(
        self, group: Mapping[str, Any], params: Tensors, grads: Tensors, slots: dict[str, Tensors]
    ) -> None:
        decay = group["decay"]
        square, *mean, velocity = slots.values()
        torch._foreach_mul_(square, decay)
        torch._foreach_addcmul_(square, grads, grads, 1 - decay)
        below = torch._foreach_add(square, group["epsilon"])
        if mean:
            torch._foreach_lerp_(mean[0], grads, 1 - decay)
            torch._foreach_addcmul_(below, mean[0], mean[0], -1.0)
        torch._foreach_sqrt_(below)
        torch._foreach_mul_(velocity, group["momentum"])
        torch._foreach_addcdiv_(velocity, grads, below, group["lr"])
        torch._foreach_sub_(params, velocity)


class _Ftrl(TensorFlowOptimizer):
    def first_values(self, group: Mapping[str, Any]) -> Mapping[str, float]:
        return {"Ftrl": group["initial_accumulator_value"], "Ftrl_1": 0.0}

    def update(
        self, group: Mapping[str, Any], params: Tensors, grads: Tensors, slots: dict[str, Tensors]
    ) -> None:
        rate, power = group["lr"], -group["learning_rate_power"]
        l1, l2 = group["l1_regularization_strength"], group["l2_regularization_strength"]
        shrinkage = group["l2_shrinkage_regularization_strength"]
        for value, gradient, total, linear in zip(
            params, grads, slots["Ftrl"], slots["Ftrl_1"], strict=True
        ):
            before = total.pow(power)
            total.addcmul_(gradient, gradient)
            after = total.pow(power)
            linear.add_(gradient + 2 * shrinkage * value - (after - before) / rate * value)
            shrunk = (linear.sign() * l1 - linear) / (after / rate + 2 * l2)
            value.copy_(torch.where(linear.abs() > l1, shrunk, torch.zeros_like(shrunk)))


_CLASSES: Mapping[str, type[TensorFlowOptimizer]] = {
    "adadelta": _Adadelta,
    "adagrad": _Adagrad,
    "adam": _Adam,
    "ftrl": _Ftrl,
    "momentum": _Momentum,
    "rmsprop": _RmsProp,
    "sgd": _Sgd,
}
