"""For authors of engines, drivers and data sets: small ones to read, tests that all pass.

Needs `pip install mox-core[testing]` (NumPy and pytest).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mox_core.testing.dataset_suite import DatasetSuite
    from mox_core.testing.engine_problem import EngineProblem, SoftmaxModel, Source
    from mox_core.testing.engine_suite import EngineSuite
    from mox_core.testing.nn_suite import NNSuite
    from mox_core.testing.storage_suite import StorageSuite
    from mox_core.testing.toy_engine import ToyEngine
    from mox_core.testing.toy_export import load_exported

__all__ = [
    "DatasetSuite",
    "EngineProblem",
    "EngineSuite",
    "NNSuite",
    "SoftmaxModel",
    "Source",
    "StorageSuite",
    "ToyEngine",
    "load_exported",
]

_MODULES = {
    "DatasetSuite": "dataset_suite",
    "EngineProblem": "engine_problem",
    "EngineSuite": "engine_suite",
    "NNSuite": "nn_suite",
    "SoftmaxModel": "engine_problem",
    "Source": "engine_problem",
    "StorageSuite": "storage_suite",
    "ToyEngine": "toy_engine",
    "load_exported": "toy_export",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
