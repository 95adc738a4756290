"""The optimizers that every engine has, with the parameters of TensorFlow 1."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mox_core.errors import SpecError

__all__ = ["OPTIMIZERS", "OPTIMIZER_NAMES", "REQUIRED", "optimizer_defaults"]

# Stands in the table for a parameter without a default.
REQUIRED: Final = None

_PARAMETERS: dict[str, dict[str, float | bool | None]] = {
    "adadelta": {"rho": 0.95, "epsilon": 1e-8},
    "adagrad": {"initial_accumulator_value": 0.1},
    "adam": {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
    "ftrl": {
        "learning_rate_power": -0.5,
        "initial_accumulator_value": 0.1,
        "l1_regularization_strength": 0.0,
        "l2_regularization_strength": 0.0,
        "l2_shrinkage_regularization_strength": 0.0,
    },
    "momentum": {"momentum": REQUIRED, "use_nesterov": False},
    "rmsprop": {"decay": 0.9, "momentum": 0.0, "epsilon": 1e-10, "centered": False},
    "sgd": {},
}

OPTIMIZERS: Final[Mapping[str, Mapping[str, float | bool | None]]] = MappingProxyType(
    {name: MappingProxyType(parameters) for name, parameters in _PARAMETERS.items()}
)

OPTIMIZER_NAMES: Final = tuple(OPTIMIZERS)


def optimizer_defaults(name: str) -> Mapping[str, float | bool | None]:
    """Return the parameters of an optimizer besides its learning rate, with their defaults.

    Raises:
        SpecError: there is no optimizer of this name; the message lists those that exist.
    """
    try:
        return OPTIMIZERS[name]
    except (KeyError, TypeError):
        from mox_core.plugins.suggest import did_you_mean

        known = ", ".join(OPTIMIZER_NAMES)
        advice = did_you_mean(str(name), OPTIMIZER_NAMES)
        raise SpecError(f"unknown optimizer {name!r}; known: {known}.{advice}") from None
