"""The names of a module of `moxing`, taken from mox when they are first used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from mox_core.errors import MoxError

__all__ = ["MissingEngineError", "engine", "forward"]


class MissingEngineError(MoxError, ModuleNotFoundError):
    """A part of `moxing` needs a distribution that is not installed."""


def engine(package: str, distribution: str) -> None:
    """Checks that the package behind a part of `moxing` is installed.

    Raises:
        MissingEngineError: it is not; the message says what to install.
    """
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        part = sys._getframe(1).f_globals["__name__"]
        raise MissingEngineError(
            f"{part} needs {distribution}: pip install {distribution}", name=package
        ) from None


def forward(
    module: str,
    target: str,
    names: Sequence[str] | None = None,
    *,
    parts: Sequence[str] = (),
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Returns `__getattr__` and `__dir__` of a module.

    Args:
        module: its name.
        target: the module that has the names.
        names: those of them that it offers; None: all that are public.
        parts: modules below it, which go before names.
    """

    def offered() -> Sequence[str]:
        return importlib.import_module(target).__all__ if names is None else names

    def getattribute(name: str) -> Any:
        if name in parts:
            return importlib.import_module(f"{module}.{name}")
        if name.startswith("__") or name not in offered():
            raise AttributeError(
                f"{module} has no {name!r}; docs/migrate.md of mox lists what it offers.",
                name=name,
                obj=sys.modules[module],
            )
        value = getattr(importlib.import_module(target), name)
        setattr(sys.modules[module], name, value)
        return value

    return getattribute, lambda: sorted({*offered(), *parts})
