"""The errors of what TensorFlow 1 had and today's TensorFlow lacks."""

from __future__ import annotations

from mox_core.errors import MoxError
from mox_tf.tf1_view.own_code import OWN
from mox_tf.tf1_view.replaced import NEEDS_PACKAGE, replacement

__all__ = ["MissingModuleError", "MissingSymbolError", "missing_module", "missing_symbol"]


class MissingSymbolError(MoxError, AttributeError):
    """Today's TensorFlow has no such name."""


class MissingModuleError(MoxError, ModuleNotFoundError):
    """Today's TensorFlow has no such module."""


def missing_symbol(symbol: str, *, package: str = "") -> MissingSymbolError:
    """The error for `tf.x.y`; with `package`, the package that would provide it."""
    return MissingSymbolError(_text(symbol, package))


def missing_module(symbol: str, *, package: str = "") -> MissingModuleError:
    """The same where the script imports it."""
    return MissingModuleError(_text(symbol, package))


def _text(symbol: str, package: str) -> str:
    where = OWN.place()
    if package:
        return f"{where}: {NEEDS_PACKAGE.format(symbol=symbol, package=package)}"
    advice = replacement(symbol)
    return f"{where}: today's TensorFlow has no {symbol}.\n  {advice}"
