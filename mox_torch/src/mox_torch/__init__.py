"""mox with the PyTorch engine fixed, for scripts that build with PyTorch.

    import torch
    import mox_torch as mox

    mox.run(input_fn=..., model_fn=..., optimizer_fn=..., run_mode=mox.ModeKeys.TRAIN)

Has all public names of mox_core besides its own. Names are loaded when they are first used;
importing this package does not import PyTorch.
"""

from __future__ import annotations

import importlib

import mox_core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mox_core import *  # noqa: F403
    from mox_torch import dist as dist
    from mox_torch import learning_rate_scheduler as learning_rate_scheduler
    from mox_torch.engine import TorchEngine as TorchEngine
    from mox_torch.running import run as run
    from mox_torch.store import get_variable as get_variable
    from mox_torch.store import module as module
    from mox_torch.store import parameters as parameters
    from mox_torch.store import var_scope as var_scope

_OWN = {
    "TorchEngine": "mox_torch.engine",
    "dist": "mox_torch",
    "get_variable": "mox_torch.store",
    "learning_rate_scheduler": "mox_torch",
    "module": "mox_torch.store",
    "parameters": "mox_torch.store",
    "run": "mox_torch.running",
    "var_scope": "mox_torch.store",
}

__all__ = sorted({*mox_core.__all__, *_OWN})


def __getattr__(name: str) -> object:
    module = _OWN.get(name)
    if module == __name__:
        value: object = importlib.import_module(f"{module}.{name}")
    elif module is not None:
        value = getattr(importlib.import_module(module), name)
    elif name in mox_core.__all__:
        value = getattr(mox_core, name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
