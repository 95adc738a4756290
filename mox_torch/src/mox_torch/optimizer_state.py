"""The state of optimizers, by the names that a checkpoint has for it.

Those of `torch.optim` make their state in the first step. What it will be is found out on a copy,
so that a program always knows which variables it saves.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from mox_core.errors import SpecError
from mox_torch.optimizers import TensorFlowOptimizer

__all__ = ["OptimizerState"]


class OptimizerState:
    """Reads and writes the state of one optimizer.

    Args:
        optimizer: any `torch.optim.Optimizer` whose step needs no closure.
        parameters: name -> parameter that it updates.
        suffix: goes behind every name.

    Raises:
        SpecError: the optimizer cannot take a step, or keeps what is no number.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        parameters: Mapping[str, nn.Parameter],
        *,
        suffix: str = "",
    ) -> None:
        self._optimizer = optimizer
        self._suffix = suffix
        # Variable name -> (parameter, key in its state, what it will look like).
        self._places: dict[str, tuple[nn.Parameter, str, torch.Tensor]] = {}
        templates = _templates(optimizer, list(parameters.values()))
        for name, parameter in parameters.items():
            for key, template in templates[parameter].items():
                self._places[f"{name}/{key}{suffix}"] = (parameter, key, template)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Name -> value; zeros for what the first step will make."""
        found: dict[str, torch.Tensor] = {}
        for name, (parameter, key, template) in self._places.items():
            held = self._optimizer.state.get(parameter, {}).get(key)
            found[name] = (
                torch.zeros(template.shape, dtype=template.dtype)
                if held is None
                else torch.as_tensor(held)
            )
        for key, scalar in self._scalars().items():
            found[key + self._suffix] = scalar
        return found

    def assign(self, values: Mapping[str, torch.Tensor]) -> None:
        """Sets what `tensors` names.

        Zeros for a parameter that has seen no step mean that its state is still to be made, which
        is not the same for an optimizer whose state does not begin with zeros.
        """
        groups: dict[nn.Parameter, list[str]] = {}
        for name in values:
            if name in self._places:
                groups.setdefault(self._places[name][0], []).append(name)
        for parameter, names in groups.items():
            state = self._optimizer.state[parameter]
            if not state and not any(values[name].any() for name in names):
                continue
            for name in names:
                _, key, template = self._places[name]
                state[key] = _like(values[name], state.get(key), template, parameter)
        for key, scalar in self._scalars().items():
            if key + self._suffix in values:
                scalar.copy_(values[key + self._suffix])

    def _scalars(self) -> dict[str, torch.Tensor]:
        optimizer = self._optimizer
        return optimizer.scalars if isinstance(optimizer, TensorFlowOptimizer) else {}


def _like(value: torch.Tensor, held: Any, template: torch.Tensor, parameter: nn.Parameter) -> Any:
    if isinstance(held, torch.Tensor):
        return held.copy_(value)
    if held is not None:
        return type(held)(value.item())
    device = parameter.device if template.device.type == "meta" else template.device
    return value.to(device, template.dtype, copy=True)


def _templates(
    optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]
) -> dict[nn.Parameter, dict[str, torch.Tensor]]:
    states = {p: dict(optimizer.state.get(p, {})) for p in parameters}
    if not all(states.values()):
        states = _after_a_step(optimizer, parameters)
    return {p: _numbers(optimizer, state) for p, state in states.items()}


def _after_a_step(
    optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]
) -> dict[nn.Parameter, dict[str, Any]]:
    for device in ("meta", None):  # most optimizers need no memory for it
        try:
            with torch.no_grad():
                copies = [nn.Parameter(torch.empty_like(p, device=device)) for p in parameters]
                for one in copies:
                    one.grad = torch.zeros_like(one)
            memo = {id(p): one for p, one in zip(parameters, copies, strict=True)}
            trial = copy.deepcopy(optimizer, memo)
            trial.__dict__.pop("step", None)  # a scheduler's wrapper, bound to the original
            trial.step()
            return {
                p: dict(trial.state.get(one, {})) for p, one in zip(parameters, copies, strict=True)
            }
        except Exception as error:
            failure = error
    raise SpecError(
        f"optimizer_fn returned a {type(optimizer).__name__}, which mox cannot step: {failure}.\n"
        "  Use an optimizer whose step() needs no closure and takes dense gradients."
    ) from failure


def _numbers(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    found = {}
    for key, value in state.items():
        if isinstance(value, (torch.Tensor, int, float)):
            found[key] = value if isinstance(value, torch.Tensor) else torch.tensor(value)
        elif value is not None:
            raise SpecError(
                f"optimizer {type(optimizer).__name__} keeps a {type(value).__name__} in {key!r}, "
                "which mox cannot save."
            )
    return found
