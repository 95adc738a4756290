"""Learning-rate schedules and optimizer names, the same for every engine."""

from __future__ import annotations

from mox_core.optim.names import OPTIMIZER_NAMES, OPTIMIZERS, REQUIRED, optimizer_defaults
from mox_core.optim.ops import Ops, python_ops
from mox_core.optim.piecewise import piecewise_lr
from mox_core.optim.schedules import (
    Schedule,
    as_schedule,
    constant,
    linear_cosine_decay,
    polynomial_decay,
    warm_up,
)
from mox_core.optim.spec import OptimizerSpec, Slot, get_optimizer_fn

__all__ = [
    "OPTIMIZERS",
    "OPTIMIZER_NAMES",
    "REQUIRED",
    "Ops",
    "OptimizerSpec",
    "Schedule",
    "Slot",
    "as_schedule",
    "constant",
    "get_optimizer_fn",
    "linear_cosine_decay",
    "optimizer_defaults",
    "piecewise_lr",
    "polynomial_decay",
    "python_ops",
    "warm_up",
]
