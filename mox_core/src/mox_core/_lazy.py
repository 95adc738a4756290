"""Packages whose public names are loaded when they are first used (PEP 562)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping

__all__ = ["lazy_names"]


def lazy_names(
    package: str, places: Mapping[str, str], *, base: str | None = None
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Makes the `__getattr__` and the `__dir__` of a package.

        __getattr__, __dir__ = lazy_names(__name__, {"run": "mox_tf.running"}, base="mox_core")

    Args:
        package: its name; it has an `__all__`.
        places: public name -> module that has it; the package itself for a submodule.
        base: another package that has the rest of `__all__`.
    """

    def get(name: str) -> object:
        module = sys.modules[package]
        place = places.get(name)
        if place is None and base is not None and name in module.__all__:
            place = base
        if place is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if place == package:
            value: object = importlib.import_module(f"{package}.{name}")
        else:
            value = getattr(importlib.import_module(place), name)
        setattr(module, name, value)
        return value

    return get, lambda: sorted(sys.modules[package].__all__)
