"""Says what an error of TensorFlow's means that ended a script written for TensorFlow 1."""

from __future__ import annotations

import difflib
import re
from types import ModuleType

from mox_tf.tf1_view.importing import loaded_view
from mox_tf.tf1_view.own_code import OWN
from mox_tf.tf1_view.replaced import NEEDS_PACKAGE, replacement

__all__ = ["explain"]

_PREFIXES = (
    r"tensorflow\.(?:_api\.v\d\.)?(?:compat\.v1\.?)?",
    r"tf_keras\.api\._v\d\.keras\.?",
    r"tf_slim\.?",
)
_SHOWN = ("tf.", "tf.keras.", "slim.")
_NO_KERAS = re.compile(r"`(\w+)` is not available with Keras 3")
_CANNOT_IMPORT = re.compile(r"cannot import name '(\w+)' from '([\w.]+)'")


def explain(error: BaseException) -> str | None:
    """Returns symbol, line and replacement for what TensorFlow does not have any more."""
    if isinstance(error, AttributeError):
        if found := _NO_KERAS.search(str(error)):
            text = NEEDS_PACKAGE.format(symbol=found[1], package="tf_keras")
            return f"{OWN.place(error)}: {text}"
        return _missing(error, error.obj, error.name)
    if isinstance(error, ModuleNotFoundError):
        if error.name is not None and error.name.startswith("tensorflow."):
            return _text(error, "tf." + error.name.partition(".")[2], None)
    elif isinstance(error, ImportError):
        found = _CANNOT_IMPORT.match(str(error))
        shown = found and _shown(found[2])
        if found and shown:
            return _text(error, shown + found[1], None)
    return None


def _missing(error: BaseException, module: object, name: str | None) -> str | None:
    shown = _shown(getattr(module, "__name__", "")) if isinstance(module, ModuleType) else None
    if shown is None or name is None or loaded_view() is None:
        return None
    return _text(error, shown + name, module)


def _shown(module: str) -> str | None:
    """`tensorflow._api.v2.compat.v1.train` as `tf.train.`; None for modules of others."""
    for prefix, shown in zip(_PREFIXES, _SHOWN, strict=True):
        found = re.match(rf"{prefix}(?=$|[\w])", module)
        if found and (found.end() == len(module) or found[0].endswith(".")):
            rest = module[found.end() :]
            return f"{shown}{rest}." if rest else shown
    return None


def _text(error: BaseException, symbol: str, module: object) -> str:
    advice = replacement(symbol)
    if advice.startswith("Its successor") and module is not None:
        similar = difflib.get_close_matches(symbol.rpartition(".")[2], dir(module), n=1)
        if similar:
            advice = f"Did you mean {symbol.rpartition('.')[0]}.{similar[0]}?"
    return f"{OWN.place(error)}: today's TensorFlow has no {symbol}.\n  {advice}"
