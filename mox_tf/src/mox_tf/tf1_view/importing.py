"""`import tensorflow`, answered by who imports it."""

from __future__ import annotations

import builtins
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from mox_tf.tf1_view.errors import missing_module
from mox_tf.tf1_view.own_code import OWN

__all__ = ["install"]

_original = builtins.__import__

_KERAS = "tf_keras.api._v1.keras"
"""Keras 2 as TensorFlow 1 showed it."""

# What multi-backend Keras had in modules of its own.
_KERAS_PARTS = {
    "layers": (
        "advanced_activations",
        "convolutional",
        "core",
        "embeddings",
        "merge",
        "noise",
        "normalization",
        "pooling",
        "recurrent",
        "wrappers",
    ),
    "utils": ("generic_utils", "np_utils"),
    "models": ("engine", "engine.training"),
}
_KERAS_MODULES = {
    f"{part}.{module}" if part != "models" else module: part
    for part, modules in _KERAS_PARTS.items()
    for module in modules
}


def install() -> None:
    """Makes import statements in the script's own files see TensorFlow 1."""
    builtins.__import__ = _import


def _import(
    name: str,
    globals: Mapping[str, Any] | None = None,  # noqa: A002 - the names of the built-in function
    locals: Mapping[str, Any] | None = None,  # noqa: A002
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> Any:
    top = name.partition(".")[0]
    if level or top not in ("tensorflow", "keras") or not _asks_own_code(globals):
        return _original(name, globals, locals, fromlist, level)
    keras = _keras_module(name)
    if keras is not None and (fromlist or not name.startswith("tensorflow.python")):
        _need_keras(name)
        module = importlib.import_module(keras if fromlist else _KERAS)
        return _view() if not fromlist and top == "tensorflow" else module
    if not fromlist:
        _original(name, globals, locals, (), 0)
        return _linked(_view(), name)
    if name == "tensorflow":
        for one in fromlist:
            _provide(one)
        return _view()
    return _original(name, globals, locals, fromlist, level)


def _asks_own_code(importer: Mapping[str, Any] | None) -> bool:
    return importer is not None and importer.get("__file__") in OWN


def _view() -> Any:
    from mox_tf.tf1 import restore_moved_names, tf

    importlib.import_module("tensorflow.contrib")  # puts itself into the view
    restore_moved_names()
    _leave_names_to_script()
    return tf


def _leave_names_to_script() -> None:
    """Lets a script define flags, such as `log_dir`, that absl has come to define since."""
    from absl import flags

    for module, defined in flags.FLAGS.flags_by_module_dict().items():
        if module.startswith("absl."):
            for flag in defined:
                flag.allow_override = True


def _linked(view: Any, name: str) -> Any:
    """The view with a part that only today's namespace has: `import tensorflow.python.x as y`."""
    part = name.split(".")[1:2]
    if part and not hasattr(view, part[0]):
        setattr(view, part[0], sys.modules[f"tensorflow.{part[0]}"])
    return view


def _provide(name: str) -> None:
    """Makes `from tensorflow import name` find a module of today's namespace."""
    if name == "*" or hasattr(_view(), name):
        return
    if importlib.util.find_spec(f"tensorflow.{name}") is None:
        raise missing_module(f"tf.{name}")
    importlib.import_module(f"tensorflow.{name}")
    _linked(_view(), f"tensorflow.{name}")


def _keras_module(name: str) -> str | None:
    """The module of tf_keras that stands for a module of Keras's old places."""
    for place in ("tensorflow.python.keras", "tensorflow.keras", "keras"):
        if name == place or name.startswith(f"{place}."):
            rest = name[len(place) + 1 :]
            break
    else:
        return None
    rest = _KERAS_MODULES.get(rest, rest)
    if not rest:
        return _KERAS
    if importlib.util.find_spec("tf_keras") is None:
        return f"{_KERAS}.{rest}"
    for base in (_KERAS, "tf_keras.src"):
        if _exists(f"{base}.{rest}"):
            return f"{base}.{rest}"
    return f"{_KERAS}.{rest}"


def _exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _need_keras(name: str) -> None:
    if importlib.util.find_spec("tf_keras") is None:
        raise missing_module(name, package="tf_keras")
    if "tensorflow" not in sys.modules:
        _view()


def loaded_view() -> ModuleType | None:
    """What `import tensorflow as tf` gives the script; None as long as nobody imported it."""
    return sys.modules["mox_tf.tf1"].tf if "mox_tf.tf1" in sys.modules else None
