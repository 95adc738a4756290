"""OptimizerSpec: an optimizer by name and numbers, which every engine lowers to its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from mox_core.errors import SpecError
from mox_core.optim.names import optimizer_defaults
from mox_core.optim.schedules import Schedule, as_schedule

__all__ = ["OptimizerSpec", "Slot", "get_optimizer_fn"]

_STATE_NAMES = {
    "adadelta": "Adadelta",
    "adagrad": "Adagrad",
    "adam": "Adam",
    "ftrl": "Ftrl",
    "momentum": "Momentum",
    "rmsprop": "RMSProp",
}


@dataclass(frozen=True)
class Slot:
    """State that an optimizer keeps for each variable, an array of the variable's shape.

    Args:
        role: what the update rules of `docs/nn.md` call it.
        suffix: its name in checkpoints is `<variable>/<suffix>`, as TensorFlow 1 has it.
        initial: its first value, everywhere.
    """

    role: str
    suffix: str
    initial: float = 0.0


@dataclass(frozen=True)
class OptimizerSpec:
    """What a neutral optimizer_fn returns.

    The update rules are those of TensorFlow 1; `docs/nn.md` has the formulas.

    Args:
        name: one of `mox_core.optim.OPTIMIZER_NAMES`.
        learning_rate: a function of the global step, 0 for the first.
        parameters: all others, such as `momentum`.
        loss: number of the loss that it works for; see `for_loss`.
    """

    name: str
    learning_rate: Schedule
    parameters: Mapping[str, Any]
    loss: int = 0

    def for_loss(self, index: int) -> OptimizerSpec:
        """The optimizer of one loss of several, whose state has names of its own."""
        return replace(self, loss=index)

    @property
    def state_name(self) -> str:
        """What the names of its state begin with, behind `<variable>/`; empty without state."""
        return self._of_loss(_STATE_NAMES[self.name]) if self.name in _STATE_NAMES else ""

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The state for each variable, in the order in which TensorFlow 1 makes it."""
        p, name = self.parameters, self.state_name
        if self.name == "momentum":
            return (Slot("velocity", name),)
        if self.name == "adam":
            return Slot("m", name), Slot("v", f"{name}_1")
        if self.name == "adagrad":
            return (Slot("accumulator", name, p["initial_accumulator_value"]),)
        if self.name == "adadelta":
            return Slot("accumulator", name), Slot("delta", f"{name}_1")
        if self.name == "ftrl":
            first = Slot("accumulator", name, p["initial_accumulator_value"])
            return first, Slot("linear", f"{name}_1")
        if self.name == "rmsprop":
            roles = ["rms", *(["mean"] if p["centered"] else []), "velocity"]
            return tuple(
                Slot(role, f"{name}_{i}" if i else name, 0.0 if i else 1.0)
                for i, role in enumerate(roles)
            )
        return ()

    @property
    def scalars(self) -> Mapping[str, float]:
        """State of the optimizer as a whole, by its name in checkpoints, with its first values."""
        if self.name != "adam":
            return {}
        betas = ("beta1", "beta2")
        return {self._of_loss(f"{beta}_power"): self.parameters[beta] for beta in betas}

    def _of_loss(self, name: str) -> str:
        return f"{name}_loss_{self.loss}" if self.loss else name


def get_optimizer_fn(
    name: str, learning_rate: Any, scope: str | None = None, *args: Any, **kwargs: Any
) -> Callable[[], OptimizerSpec]:
    """Returns an `optimizer_fn` for `mox.run` (manual 004, section 3).

    Args:
        name: adadelta, adagrad, adam, ftrl, momentum, rmsprop or sgd.
        learning_rate: a number, or a schedule of `mox_core.optim`.
        scope: accepted and ignored; only TensorFlow has names for optimizers.
        *args: further parameters, in the order of `mox_core.optim.OPTIMIZERS`.
        **kwargs: the same by name; `momentum` is 0.9 unless given.

    Raises:
        SpecError: there is no such optimizer, or it has no such parameter; a ValueError too.
    """
    known = dict(optimizer_defaults(name))
    if name == "momentum":
        known["momentum"] = 0.9
    given = {**dict(zip(known, args, strict=False)), **kwargs}
    unknown = [one for one in given if one not in known]
    if unknown or len(args) > len(known):
        extra = ", ".join(unknown) or f"{len(args)} of them"
        has = ", ".join(known) or "none besides its learning rate"
        raise SpecError(f"optimizer {name!r} has no parameter {extra}.\n  It has these: {has}.")
    spec = OptimizerSpec(name, as_schedule(learning_rate), MappingProxyType({**known, **given}))
    return lambda: spec
