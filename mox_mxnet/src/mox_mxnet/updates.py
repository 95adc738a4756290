"""One step of training: gradients of every loss, then every optimizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mox_core.optim.spec import OptimizerSpec
from mox_core.spec import ModelSpec
from mox_core.spec_rules import (
    nothing_to_train_error,
    optimizer_fn_per_loss,
    optimizer_kind_error,
)
from mox_core.update_flags import Clip
from mox_mxnet.importing import load
from mox_mxnet.model import RULES
from mox_mxnet.optimizer_state import NativeOptimizer, NeutralState
from mox_mxnet.optimizers import NeutralOptimizer
from mox_mxnet.reduction import Reducer
from mox_mxnet.settings import Settings
from mox_mxnet.variables import State, Variable

__all__ = ["Trainer", "Update"]

mx = load()
nd = mx.nd


@dataclass(frozen=True)
class Update:
    """How one loss changes the variables.

    Args:
        variables: what it updates.
        optimizer: steps after the gradients are there.
        state: of the optimizer, by name.
    """

    variables: Sequence[Variable]
    optimizer: NeutralOptimizer | NativeOptimizer
    state: State


class Trainer:
    """Takes the gradients of a step and applies them.

    Args:
        spec: of the first call of the model.
        trained: index of a loss -> the variables that it updates.
        optimizer_fns: one for all losses, or one for each.
        settings: scaling and clipping.
        share: of one tower's batch in the whole step.
        neutral: only `OptimizerSpec`s will do; a gradient that is not there counts as zero.
        reducer: adds up gradients over contexts and processes; None where there is one of each.

    Raises:
        SpecError: losses, optimizers and variables do not fit.
    """

    def __init__(
        self,
        spec: ModelSpec,
        trained: Callable[[int], Sequence[Variable]],
        optimizer_fns: Sequence[Callable[[], Any]],
        settings: Settings,
        *,
        share: float,
        neutral: bool,
        reducer: Reducer | None,
    ) -> None:
        self._settings = settings
        self._factor = share * settings.loss_scale
        self._reducer = reducer
        self._all_fresh = neutral
        self._heads: dict[Any, Any] = {}
        self.updates = _make_updates(spec, trained, optimizer_fns, neutral=neutral)
        unique = {id(v): v for update in self.updates for v in update.variables}
        self._trained = list(unique.values())
        for variable in self._trained:
            if not variable.gradients:
                variable.gradients = [nd.zeros_like(one) for one in variable.arrays]
                for array, gradient in zip(variable.arrays, variable.gradients, strict=True):
                    mx.autograd.mark_variables([array], [gradient], "write")

    def prepare(self) -> None:
        """Makes places for gradients that processes exchange, before the first forward pass."""
        if self._reducer is not None:
            self._reducer.prepare([v.gradients for u in self.updates for v in u.variables])

    def skip(self) -> None:
        """Takes part in the exchange of a step's gradients without any."""
        if self._reducer is not None:
            self._reducer.skip()

    def apply(self, losses: list[list[Any]], global_step: int) -> None:
        """Takes the gradients and lets every optimizer step.

        Args:
            losses: per tower those of its ModelSpec, recorded.
            global_step: before this step.
        """
        found = []
        several = len(self.updates) > 1
        for index, update in enumerate(self.updates):
            last = index + 1 == len(self.updates)
            self._backward([tower[index] for tower in losses], retain_graph=not last)
            gradients = self._gradients(update)
            if several and not last:  # the next backward pass writes to the same places
                gradients = [g and [one.copy() for one in g] for g in gradients]
            found.append(gradients)
        if self._reducer is not None:
            self._reducer.reduce([one for gradients in found for one in gradients if one])
        for update, gradients in zip(self.updates, found, strict=True):
            self._step(update, gradients, global_step)
        for variable in self._trained:
            for array in variable.arrays[1:]:
                variable.arrays[0].copyto(array)

    def _backward(self, losses: list[Any], *, retain_graph: bool) -> None:
        if not self._all_fresh:
            for variable in self._trained:
                for array in variable.arrays:
                    array._fresh_grad = False
        heads = None if self._factor == 1.0 else [self._head(loss) for loss in losses]
        mx.autograd.backward(losses, heads, retain_graph=retain_graph)

    def _head(self, loss: Any) -> Any:
        key = (loss.context, loss.shape, loss.dtype)
        if key not in self._heads:
            self._heads[key] = nd.full(loss.shape, self._factor, ctx=loss.context, dtype=loss.dtype)
        return self._heads[key]

    def _gradients(self, update: Update) -> list[list[Any] | None]:
        found: list[list[Any] | None] = []
        for variable in update.variables:
            stale = [] if self._all_fresh else _stale(variable)
            for place in stale:
                variable.gradients[place][:] = 0
            # Other towers and processes may have a gradient of what this one's batch has none.
            nowhere = len(stale) == len(variable.arrays) and self._reducer is None
            found.append(None if nowhere else variable.gradients)
        return found

    def _step(self, update: Update, gradients: list[list[Any] | None], global_step: int) -> None:
        settings = self._settings
        first = [one[0] for one in gradients if one is not None]
        if settings.loss_scale != 1.0:
            for gradient in first:
                gradient *= 1.0 / settings.loss_scale
        if settings.clip is not None and first:
            _clip(first, settings.clip)
        update.optimizer.step([one and one[0] for one in gradients], global_step)


def _stale(variable: Variable) -> list[int]:
    """The towers whose batch gave no gradient of a variable."""
    return [place for place, array in enumerate(variable.arrays) if not array._fresh_grad]


def _clip(gradients: list[Any], clip: Clip) -> None:
    if clip.kind == "value":
        for gradient in gradients:
            nd.clip(gradient, -clip.limit, clip.limit, out=gradient)
        return
    squares = nd.add_n(*(nd.sum(nd.square(one.astype("float32"))) for one in gradients))
    factor = nd.minimum(clip.limit / nd.sqrt(squares), 1.0)
    for gradient in gradients:
        nd.broadcast_mul(gradient, factor.astype(gradient.dtype), out=gradient)


def _make_updates(
    spec: ModelSpec,
    trained: Callable[[int], Sequence[Variable]],
    optimizer_fns: Sequence[Callable[[], Any]],
    *,
    neutral: bool,
) -> list[Update]:
    updates = []
    for index, function in enumerate(optimizer_fn_per_loss(spec, optimizer_fns)):
        variables = trained(index)
        if not variables:
            raise nothing_to_train_error(spec, index, "make blocks with mox.block")
        updates.append(_make_update(function(), variables, index, neutral=neutral))
    return updates


def _make_update(
    returned: Any, variables: Sequence[Variable], index: int, *, neutral: bool
) -> Update:
    if isinstance(returned, OptimizerSpec):
        weights = [variable.arrays[0] for variable in variables]
        optimizer = NeutralOptimizer(returned.for_loss(index), weights)
        return Update(variables, optimizer, NeutralState(optimizer, variables))
    if neutral or not isinstance(returned, mx.optimizer.Optimizer):
        wanted = "" if neutral else "one of mx.optimizer, or "
        raise optimizer_kind_error(returned, RULES.engine, f"{wanted}mox.get_optimizer_fn(...)")
    suffix = f"_{index}" if index else ""
    native = NativeOptimizer(returned, variables, suffix=suffix)
    return Update(variables, native, native)
