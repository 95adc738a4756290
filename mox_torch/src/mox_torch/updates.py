"""One step of training: gradients of every loss, then every optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mox_core.errors import SpecError
from mox_core.optim import Schedule
from mox_core.optim.schedules import Constant
from mox_core.optim.spec import OptimizerSpec
from mox_core.patterns import in_scopes
from mox_core.spec import ModelSpec
from mox_core.spec_rules import (
    nothing_to_train_error,
    optimizer_fn_per_loss,
    optimizer_kind_error,
)
from mox_core.update_flags import Clip
from mox_core.wording import a_type
from mox_torch.distributed import Group
from mox_torch.model import RULES
from mox_torch.optimizer_state import OptimizerState
from mox_torch.optimizers import make_optimizer
from mox_torch.settings import Settings
from mox_torch.store import VariableStore

__all__ = ["Trainer", "Update"]


@dataclass(frozen=True)
class Update:
    """How one loss changes the variables.

    Args:
        optimizer: steps after the gradients are there.
        parameters: name -> what it updates.
        state: of the optimizer, by name.
        schedule: sets the learning rate from the global step, or None.
        scheduler: one of `torch.optim.lr_scheduler`, or None.
    """

    optimizer: torch.optim.Optimizer
    parameters: Mapping[str, nn.Parameter]
    state: OptimizerState
    schedule: Schedule | None = None
    scheduler: Any = None


class Trainer:
    """Takes the gradients of a step's batches and applies them.

    Args:
        store: the variables.
        spec: of the first call of model_fn, with its autograd graph.
        optimizer_fns: one for all losses, or one for each.
        settings: scaling and clipping.
        group: the processes over which gradients are averaged, or None.

    Raises:
        SpecError: losses, optimizers and variables do not fit.
    """

    def __init__(
        self,
        store: VariableStore,
        spec: ModelSpec,
        optimizer_fns: Sequence[Callable[[], Any]],
        settings: Settings,
        *,
        group: Group | None = None,
    ) -> None:
        self._settings = settings
        self._group = group
        self.updates = _make_updates(store, spec, optimizer_fns)
        trained = {id(p): p for update in self.updates for p in update.parameters.values()}
        self._trained = list(trained.values())
        # The scaler, if there is one, has a scale of its own.
        self._loss_scale = 1.0 if settings.loss_scale is None else settings.loss_scale
        self._factor = self._loss_scale / (settings.towers * settings.accumulate)
        self._scales = self._factor != 1.0 or settings.loss_scale is None
        changes = settings.loss_scale != 1.0 or settings.clip is not None
        self._looks_at_gradients = changes or group is not None
        # Gradients of several losses are taken one loss after the other, without hooks.
        one_loss = group is not None and len(self.updates) == 1
        self._exchange = group.exchange(self._trained) if group and one_loss else None
        everything = {id(p) for p in store.trainable().values()}
        # Restricting the backward pass to some parameters costs a little; mostly they are all.
        self._only = None if everything == set(trained) else self._trained
        self._gradients: list[list[torch.Tensor | None]] = []
        self.scaler = (
            torch.amp.GradScaler(settings.device.type) if settings.loss_scale is None else None
        )

    def backward(self, losses: Sequence[torch.Tensor], *, last: bool) -> None:
        """Adds the gradients of one call of model_fn.

        Args:
            losses: what it returned.
            last: whether this is the last call of the step.

        Raises:
            ValueError: there are more or fewer than in the first call.
        """
        if last and self._exchange is not None:
            self._exchange.begin()
        if len(self.updates) == 1:
            (loss,) = losses
            if self._scales:
                loss = self._scaled(loss)
            torch.autograd.backward(loss, inputs=self._only)
            return
        found = []
        for index, (loss, update) in enumerate(zip(losses, self.updates, strict=True)):
            found.append(
                torch.autograd.grad(
                    self._scaled(loss),
                    list(update.parameters.values()),
                    retain_graph=index + 1 < len(losses),
                    allow_unused=True,
                )
            )
        before = self._gradients or [[None] * len(gradients) for gradients in found]
        self._gradients = [
            [_sum(a, b) for a, b in zip(*pair, strict=True)]
            for pair in zip(before, found, strict=True)
        ]

    def apply(self, global_step: int) -> None:
        """Lets every optimizer step, and forgets the gradients."""
        for index, update in enumerate(self.updates):
            if self._gradients:
                for parameter, gradient in zip(
                    update.parameters.values(), self._gradients[index], strict=True
                ):
                    parameter.grad = gradient
            if self._looks_at_gradients:
                self._prepare_gradients(update)
            if update.schedule is not None:
                rate = update.schedule(global_step)
                for group in update.optimizer.param_groups:
                    group["lr"] = rate
            if self.scaler:
                self.scaler.step(update.optimizer)
            else:
                update.optimizer.step()
            if update.scheduler is not None:
                update.scheduler.step()
        if self.scaler:
            self.scaler.update()
        self.clear()

    def clear(self) -> None:
        """Forgets the gradients."""
        self._gradients = []
        for parameter in self._trained:
            parameter.grad = None

    def _scaled(self, loss: torch.Tensor) -> torch.Tensor:
        if self.scaler:
            loss = self.scaler.scale(loss)
        return loss if self._factor == 1.0 else loss * self._factor

    def _prepare_gradients(self, update: Update) -> None:
        settings = self._settings
        parameters = list(update.parameters.values())
        if self._exchange is not None and self._group is not None:
            self._group.finish(self._exchange)
        elif self._group is not None:
            self._group.average(_all_gradients(parameters))
        if self.scaler:
            self.scaler.unscale_(update.optimizer)
        elif self._loss_scale != 1.0:
            gradients = [p.grad for p in parameters if p.grad is not None]
            torch._foreach_mul_(gradients, 1.0 / self._loss_scale)
        if settings.clip is not None:
            _clip(parameters, settings.clip)


def _all_gradients(parameters: Iterable[nn.Parameter]) -> list[torch.Tensor]:
    """The gradients; zeros where this process's batch gave none, since others' may have."""
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    return [p.grad for p in parameters if p.grad is not None]


def _sum(a: torch.Tensor | None, b: torch.Tensor | None) -> torch.Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b


def _clip(parameters: list[nn.Parameter], clip: Clip) -> None:
    if clip.kind == "value":
        nn.utils.clip_grad_value_(parameters, clip.limit)
    else:
        nn.utils.clip_grad_norm_(parameters, clip.limit)


def _make_updates(
    store: VariableStore, spec: ModelSpec, optimizer_fns: Sequence[Callable[[], Any]]
) -> list[Update]:
    losses, functions = spec.losses, optimizer_fn_per_loss(spec, optimizer_fns)
    trainable = store.trainable()
    names = {id(parameter): name for name, parameter in trainable.items()}
    updates = []
    for index, (loss, function) in enumerate(zip(losses, functions, strict=True)):
        reached = _leaves(loss)
        unknown = [
            p
            for p in reached
            if isinstance(p, nn.Parameter) and id(p) not in names and not store.knows(p)
        ]
        if unknown:
            raise SpecError(
                f"{spec.loss_names()[index]} depends on a parameter of shape "
                f"{tuple(unknown[0].shape)} that mox does not know, so it could not be saved.\n"
                '  Make modules in model_fn with mox.module("name", lambda: Net()).'
            )
        scopes = spec.scopes_of(index)
        reached_names = {names[id(p)] for p in reached if id(p) in names}
        trained = {
            name: parameter
            for name, parameter in trainable.items()
            if name in reached_names and in_scopes(name, scopes)
        }
        if not trained:
            raise nothing_to_train_error(spec, index, "make modules with mox.module")
        with store:
            returned = function()
        updates.append(_make_update(store, returned, trained, index))
    return updates


def _make_update(
    store: VariableStore, returned: Any, trained: dict[str, nn.Parameter], index: int
) -> Update:
    schedule = scheduler = None
    optimizer = returned
    if isinstance(returned, OptimizerSpec):
        if not isinstance(returned.learning_rate, Constant):  # the optimizer has that of step 0
            schedule = returned.learning_rate
        optimizer = make_optimizer(returned, list(trained.values()))
    elif callable(returned) and not isinstance(returned, torch.optim.Optimizer):
        optimizer = returned(list(trained.values()))
    if isinstance(optimizer, tuple) and len(optimizer) == 2:
        optimizer, scheduler = optimizer
    if not isinstance(optimizer, torch.optim.Optimizer):
        wanted = (
            "one of torch.optim, a function of the parameters that returns one,\n"
            "  or mox.get_optimizer_fn(...)"
        )
        raise optimizer_kind_error(optimizer, RULES.engine, wanted)
    updated = {id(p) for group in optimizer.param_groups for p in group["params"]}
    parameters = {name: p for name, p in trained.items() if id(p) in updated}
    if not parameters:
        raise SpecError(
            f"optimizer_fn returned {a_type(optimizer)} over none of the loss's "
            "parameters.\n  Give it mox.parameters(), or return a function of the parameters."
        )
    names = _state_names(returned, index)
    state = OptimizerState(optimizer, parameters, names=names, view=store.view)
    return Update(optimizer, parameters, state, schedule, scheduler)


def _state_names(returned: Any, index: int) -> Callable[[str], str]:
    """What checkpoints call the state of the optimizer of loss number `index`."""
    if not isinstance(returned, OptimizerSpec):
        return lambda key: f"{key}_{index}" if index else key
    own, of_loss = returned.for_loss(0), returned.for_loss(index)
    names = dict(zip(own.scalars, of_loss.scalars, strict=True))
    names.update((a.suffix, b.suffix) for a, b in zip(own.slots, of_loss.slots, strict=True))
    return names.__getitem__


def _leaves(loss: torch.Tensor) -> list[torch.Tensor]:
    """The leaves of the autograd graph that a loss depends on."""
    if loss.is_leaf and loss.requires_grad:
        return [loss]
    found: list[torch.Tensor] = []
    seen, ahead = set(), [loss.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if isinstance(variable, torch.Tensor):
            found.append(variable)
        ahead += [parent for parent, _ in node.next_functions]
    return found
