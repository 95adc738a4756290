"""`mox_core.run` with the TensorFlow engine."""

from __future__ import annotations

import functools
from typing import Any

import mox_core
from mox_core.errors import EngineError
from mox_core.plugins import get_manager

__all__ = ["run"]


@functools.wraps(mox_core.run)
def run(*arguments: Any, **options: Any) -> mox_core.RunResult:
    """See `mox_core.run`."""
    engine = options.pop("engine", None) or "tf"
    if getattr(engine, "name", engine) != "tf":
        raise EngineError(
            f"mox_tf.run runs engine 'tf', but engine={engine!r} was given.\n"
            "  `import mox_core as mox` leaves the choice to you."
        )
    # An engine that is an object tells the core that the script's functions are native.
    engine = get_manager().select("engine", "tf") if isinstance(engine, str) else engine
    return mox_core.run(*arguments, engine=engine, **options)
