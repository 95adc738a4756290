"""What parts of `moxing` need."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from mox_core.errors import MoxError

__all__ = ["MissingEngineError", "engine"]


class MissingEngineError(MoxError, ModuleNotFoundError):
    """A part of `moxing` needs a distribution that is not installed."""


def engine(package: str, distribution: str) -> ModuleType:
    """Imports the package behind a part of `moxing`; none of them imports its framework.

    Raises:
        MissingEngineError: it is not; the message says what to install.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        part = sys._getframe(1).f_globals["__name__"]
        raise MissingEngineError(
            f"{part} needs {distribution}: pip install {distribution}", name=package
        ) from None
