"""Learning rates that follow the global step, for `get_optimizer_fn` (manual 004, section 3)."""

from mox_core.optim import linear_cosine_decay, piecewise_lr, polynomial_decay, warm_up

__all__ = ["linear_cosine_decay", "piecewise_lr", "polynomial_decay", "warm_up"]
