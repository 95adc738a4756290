"""MoXing's names on mox: `import moxing as mox; mox.file.copy_parallel(...)`.

`moxing.tensorflow`, `moxing.pytorch` and `moxing.mxnet` need mox-tf, mox-torch and mox-mxnet.
Importing this package imports no training framework. See docs/migrate.md.
"""

from __future__ import annotations

import importlib

from mox_compat.aside import step_aside
from mox_core import __version__

__all__ = ["__version__", "file", "framework", "mxnet", "pytorch", "tensorflow"]


def __getattr__(name: str) -> object:
    if name == "file":
        return importlib.import_module("moxing.framework.file")
    if name in __all__:
        return importlib.import_module(f"moxing.{name}")
    raise AttributeError(f"module 'moxing' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


step_aside()
