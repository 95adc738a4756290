"""The state of optimizers, by the names that a checkpoint has for it.

Those of `torch.optim` make their state in the first step. What it will be is found out on a copy,
so that a program always knows which variables it saves.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from mox_core.errors import SpecError
from mox_core.wording import a_type
from mox_torch.optimizers import TensorFlowOptimizer

__all__ = ["OptimizerState"]


class OptimizerState:
    """Reads and writes the state of one optimizer.

    Args:
        optimizer: any `torch.optim.Optimizer` whose step needs no closure.
        parameters: name -> parameter that it updates.
        names: key of the optimizer's -> name in checkpoints, where they differ.
        view: (variable name, tensor laid out like it) -> a view as checkpoints have it.

    Raises:
        SpecError: the optimizer cannot take a step, or keeps what is no number.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        parameters: Mapping[str, nn.Parameter],
        *,
        names: Callable[[str], str] = lambda key: key,
        view: Callable[[str, torch.Tensor], torch.Tensor] = lambda name, tensor: tensor,
    ) -> None:
        self._optimizer = optimizer
        self._names = names
        self._places: dict[str, _Place] = {}
        templates = _templates(optimizer, list(parameters.values()))
        for name, parameter in parameters.items():
            for key, template in templates[parameter].items():
                as_saved = partial(view, name) if template.shape == parameter.shape else _itself
                self._places[f"{name}/{names(key)}"] = _Place(parameter, key, template, as_saved)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Name -> value; zeros for what the first step will make."""
        found: dict[str, torch.Tensor] = {}
        for name, place in self._places.items():
            held = self._optimizer.state.get(place.parameter, {}).get(place.key)
            if held is None:
                held = torch.zeros(place.template.shape, dtype=place.template.dtype)
            found[name] = place.view(torch.as_tensor(held))
        for key, scalar in self._scalars().items():
            found[self._names(key)] = scalar
        return found

    def assign(self, values: Mapping[str, torch.Tensor]) -> None:
        """Sets what `tensors` names.

        Zeros for a parameter that has seen no step mean that its state is still to be made, which
        is not the same for an optimizer whose state does not begin with zeros.
        """
        groups: dict[nn.Parameter, list[str]] = {}
        for name in values:
            if name in self._places:
                groups.setdefault(self._places[name].parameter, []).append(name)
        for parameter, names in groups.items():
            state = self._optimizer.state[parameter]
            if not state and not any(values[name].any() for name in names):
                continue
            for name in names:
                place = self._places[name]
                state[place.key] = _like(values[name], state.get(place.key), place)
        for key, scalar in self._scalars().items():
            if self._names(key) in values:
                scalar.copy_(values[self._names(key)])

    def _scalars(self) -> dict[str, torch.Tensor]:
        optimizer = self._optimizer
        return optimizer.scalars if isinstance(optimizer, TensorFlowOptimizer) else {}


@dataclass(frozen=True)
class _Place:
    """Where a piece of state lives: key of a parameter's state, what it will look like."""

    parameter: nn.Parameter
    key: str
    template: torch.Tensor
    view: Callable[[torch.Tensor], torch.Tensor]


def _itself(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def _like(value: torch.Tensor, held: Any, place: _Place) -> Any:
    if held is not None and not isinstance(held, torch.Tensor):
        return type(held)(value.item())
    if held is None:
        template, parameter = place.template, place.parameter
        device = parameter.device if template.device.type == "meta" else template.device
        laid_out = parameter if template.shape == parameter.shape else template
        held = torch.zeros_like(laid_out, dtype=template.dtype, device=device, requires_grad=False)
    place.view(held).copy_(value)
    return held


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
        f"optimizer_fn returned {a_type(optimizer)}, which mox cannot step: {failure}.\n"
        "  Use an optimizer whose step() needs no closure and takes dense gradients."
    ) from failure


def _numbers(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    found = {}
    for key, value in state.items():
        if isinstance(value, (torch.Tensor, int, float)):
            found[key] = value if isinstance(value, torch.Tensor) else torch.tensor(value)
        elif value is not None:
            raise SpecError(
                f"optimizer {type(optimizer).__name__} keeps {a_type(value)} in {key!r}, "
                "which mox cannot save."
            )
    return found
