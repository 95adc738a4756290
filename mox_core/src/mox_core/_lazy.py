"""What is loaded when it is first used: public names of packages (PEP 562), and `logging`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from typing import Any

__all__ = ["lazy_logger", "lazy_names"]


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


class _LazyLogger:
    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        import logging

        return getattr(logging.getLogger(self._name), attribute)


def lazy_logger(name: str) -> logging.Logger:
    """A logger that imports `logging` with its first line: most programs that start see none.

    Args:
        name: of the logger.
    """
    return _LazyLogger(name)  # type: ignore[return-value]
