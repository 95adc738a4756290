"""Imports MXNet 1.9.1 beside a NumPy that is newer than MXNet.

MXNet uses names that NumPy 1.24 removed (`numpy.bool` and the like). Its modules, and only they,
are given a stand-in for the module `numpy` that still has them; `numpy` itself stays as it is. A
script's own `import mxnet` works the same way once `mox_mxnet` is imported.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.machinery
import sys
import types
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from mox_core.errors import EngineError

__all__ = ["install", "load"]

_REMOVED: Mapping[str, Any] = {
    "bool": bool,
    "complex": complex,
    "float": float,
    "int": int,
    "object": object,
    "str": str,
}
_IN_ADVANCE = ("ctypeslib", "fft", "linalg", "ma", "random", "testing")


def load() -> Any:
    """Returns the module `mxnet`.

    Raises:
        EngineError: it is not installed, or something that it needs is missing.
    """
    install()
    try:
        return importlib.import_module("mxnet")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "mxnet":
            advice = "Install it with:  pip install mxnet==1.9.1"
        elif missing == "distutils":
            advice = "Install what Python 3.12 lacks:  pip install setuptools"
        else:
            advice = f"Install it with:  pip install {missing}"
        raise EngineError(f"MXNet cannot be imported: {error}.\n  {advice}") from error
    except OSError as error:  # a shared library
        raise EngineError(
            f"MXNet cannot be imported: {error}.\n"
            "  It needs libgomp and libquadmath of the system (Debian: libgomp1 libquadmath0)."
        ) from error
    except AttributeError as error:  # NumPy 2 has lost more names than these
        raise EngineError(
            f"MXNet cannot be imported: {error}.\n  Install an older NumPy:  pip install 'numpy<2'"
        ) from error


def install() -> None:
    """Lets `import mxnet` work, from now on and everywhere in this process."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """Finds MXNet's modules as usual, but has them executed with another `import`."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "mxnet" and not name.startswith("mxnet."):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    def exec_module(self, module: types.ModuleType) -> None:
        # Functions take their built-ins from the globals of their module.
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": _import}
        super().exec_module(module)


def _import(name: str, *arguments: Any, **options: Any) -> Any:
    found = builtins.__import__(name, *arguments, **options)
    return _stand_in() if found is sys.modules.get("numpy") else found


class _StandIn(types.ModuleType):
    """Answers for `numpy`, and has the names that were removed from it."""

    def __getattr__(self, name: str) -> Any:
        found = _REMOVED.get(name)
        if found is None:
            with warnings.catch_warnings():  # MXNet asks for names that are about to go
                warnings.simplefilter("ignore", DeprecationWarning)
                found = getattr(sys.modules["numpy"], name)
        setattr(self, name, found)  # MXNet looks some of them up in every call
        return found


def _stand_in() -> types.ModuleType:
    global _numpy
    if _numpy is None:
        for name in _IN_ADVANCE:  # so that `numpy.random` and the like are attributes
            importlib.import_module(f"numpy.{name}")
        _numpy = _StandIn("numpy", sys.modules["numpy"].__doc__)
    return _numpy


_numpy: types.ModuleType | None = None
