"""The optimizers that a script can ask for by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from mox_core.errors import SpecError
from mox_core.optim import optimizer_defaults
from mox_tf.schedules import learning_rate_tensor
from mox_tf.tf1 import tf

__all__ = ["get_optimizer_fn"]

_CLASSES = {
    "adadelta": tf.train.AdadeltaOptimizer,
    "adagrad": tf.train.AdagradOptimizer,
    "adam": tf.train.AdamOptimizer,
    "ftrl": tf.train.FtrlOptimizer,
    "momentum": tf.train.MomentumOptimizer,
    "rmsprop": tf.train.RMSPropOptimizer,
    "sgd": tf.train.GradientDescentOptimizer,
}
_DEFAULTS: dict[str, dict[str, Any]] = {"momentum": {"momentum": 0.9}}


def get_optimizer_fn(
    name: str, learning_rate: Any, scope: str | None = None, *args: Any, **kwargs: Any
) -> Callable[[], Any]:
    """Returns an `optimizer_fn` for `mox.run` (manual 004, section 3).

    Args:
        name: adadelta, adagrad, adam, ftrl, momentum, rmsprop or sgd.
        learning_rate: a number, a scalar tensor, or a schedule of `mox_core.optim`.
        scope: name of the optimizer, which its operations and slot variables carry.
        *args: further arguments of the optimizer, after its learning rate.
        **kwargs: the same by name; `momentum` is 0.9 unless given.

    Raises:
        SpecError: there is no such optimizer, or it has no such argument; a ValueError too.
    """
    optimizer_defaults(name)  # raises for unknown names
    optimizer_class = _CLASSES[name]
    options = {**({} if args else _DEFAULTS.get(name, {})), **kwargs}
    if scope is not None:
        options.setdefault("name", scope)
    signature = inspect.signature(optimizer_class)
    try:
        signature.bind(learning_rate, *args, **options)
    except TypeError as error:
        known = [parameter for parameter in signature.parameters if parameter != "learning_rate"]
        raise SpecError(
            f"optimizer {name!r}: {error}.\n  It has these: {', '.join(known)}."
        ) from error

    def optimizer_fn() -> Any:
        return optimizer_class(learning_rate_tensor(learning_rate), *args, **options)

    return optimizer_fn
