"""Learning rates that follow the global step, as tensors for an optimizer (manual 004, section 3).

Call these functions in optimizer_fn. The formulas and their errors are those of `mox_core.optim`,
whose schedules `get_optimizer_fn` takes too.
"""

from __future__ import annotations

from typing import Any

from mox_core import optim
from mox_tf.schedules import schedule_tensor

__all__ = ["linear_cosine_decay", "piecewise_lr", "polynomial_decay", "warm_up"]


def piecewise_lr(
    lr_strategy: str, num_samples: int, global_batch_size: int, global_step: Any = None
) -> Any:
    """A learning rate by epochs, such as `'5:0.1->0.4,10:0.4=>0.8,15:0.8,20:0.08'`.

    Args:
        lr_strategy: `epoch:value` by commas; `a->b` is linear, `a=>b` exponential.
        num_samples: samples of one epoch.
        global_batch_size: samples per step, over all towers and workers.
        global_step: what to follow; None: the graph's global step.

    Returns:
        A float32 scalar tensor.

    Raises:
        SpecError: the strategy cannot be read; the message points at the bad part.
    """
    return schedule_tensor(
        optim.piecewise_lr(lr_strategy, num_samples, global_batch_size), global_step
    )


def linear_cosine_decay(
    learning_rate: float, decay_steps: float, *, global_step: Any = None, **shape: float
) -> Any:
    """See `mox_core.optim.linear_cosine_decay`, which takes the same arguments.

    Returns:
        A float32 scalar tensor.
    """
    return schedule_tensor(
        optim.linear_cosine_decay(learning_rate, decay_steps, **shape), global_step
    )


def polynomial_decay(
    learning_rate: float, decay_steps: float, *, global_step: Any = None, **shape: Any
) -> Any:
    """See `mox_core.optim.polynomial_decay`, which takes the same arguments.

    Returns:
        A float32 scalar tensor.
    """
    return schedule_tensor(optim.polynomial_decay(learning_rate, decay_steps, **shape), global_step)


def warm_up(
    schedule: optim.Schedule | float, steps: float, *, start: float = 0.0, global_step: Any = None
) -> Any:
    """See `mox_core.optim.warm_up`, which takes the same arguments.

    Returns:
        A float32 scalar tensor.
    """
    return schedule_tensor(optim.warm_up(schedule, steps, start=start), global_step)
