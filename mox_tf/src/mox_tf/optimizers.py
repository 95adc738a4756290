"""The optimizers that a script can ask for by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from mox_core.errors import SpecError
from mox_core.optim import OptimizerSpec, optimizer_defaults
from mox_core.optim.schedules import Constant
from mox_tf.schedules import learning_rate_tensor, schedule_tensor
from mox_tf.tf1 import tf

__all__ = ["get_optimizer_fn", "make_optimizer"]

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


def make_optimizer(spec: OptimizerSpec) -> Any:
    """An optimizer of TensorFlow with the formula and the names of state that a spec has."""
    # Python's numbers would become float32, too coarse for variables that are finer.
    options = {
        name: np.float64(value) if isinstance(value, float) else value
        for name, value in spec.parameters.items()
    }
    rate = spec.learning_rate
    if isinstance(rate, Constant):
        rate = np.float64(rate.learning_rate)
    else:
        rate = schedule_tensor(rate, dtype=tf.float64)
    if spec.state_name:
        options["name"] = spec.state_name
    if spec.name == "adam":
        return _Adam(rate, spec=spec, **options)
    return _CLASSES[spec.name](rate, **options)


class _Adam(tf.train.AdamOptimizer):  # type: ignore[misc]
    """Adam whose powers of beta have the names of a spec.

    Args:
        learning_rate: a number or a scalar tensor.
        spec: names them.
        options: of Adam.
    """

    def __init__(self, learning_rate: Any, *, spec: OptimizerSpec, **options: Any) -> None:
        super().__init__(learning_rate, **options)
        self._power_names = dict(zip(spec.for_loss(0).scalars, spec.scalars, strict=True))

    def _create_non_slot_variable(self, initial_value: Any, name: str, colocate_with: Any) -> Any:
        name = self._power_names[name]
        return super()._create_non_slot_variable(initial_value, name, colocate_with)

    def _get_non_slot_variable(self, name: str, graph: Any = None) -> Any:
        return super()._get_non_slot_variable(self._power_names[name], graph)
