"""`mox_core.run` with the MXNet engine."""

from __future__ import annotations

import functools
from typing import Any

import mox_core
from mox_core.engine import Engine
from mox_core.errors import EngineError
from mox_mxnet.engine import MXNetEngine

__all__ = ["run"]


@functools.wraps(mox_core.run)
def run(*arguments: Any, **options: Any) -> mox_core.RunResult:
    """See `mox_core.run`."""
    engine = options.pop("engine", None) or "mxnet"
    if getattr(engine, "name", engine) != "mxnet":
        raise EngineError(
            f"mox_mxnet.run runs engine 'mxnet', but engine={engine!r} was given.\n"
            "  `import mox_core as mox` leaves the choice to you."
        )
    chosen = engine if isinstance(engine, Engine) else MXNetEngine()
    return mox_core.run(*arguments, engine=chosen, **options)
