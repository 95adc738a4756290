"""What needs no training framework."""

from __future__ import annotations

import importlib

__all__ = ["file", "util"]


def __getattr__(name: str) -> object:
    if name in __all__:
        return importlib.import_module(f"moxing.framework.{name}")
    raise AttributeError(f"module 'moxing.framework' has no attribute {name!r}")
