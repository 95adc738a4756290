"""The entry point of engine `tf` in group `mox.engines`.

Not inside of mox_tf: importing that package says that a script uses TensorFlow in graph mode,
and listing plugins does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mox_core.plugins import hookimpl

if TYPE_CHECKING:
    from mox_core.engine import Engine


@hookimpl
def mox_engine(name: str) -> Engine | None:
    """Makes the TensorFlow engine."""
    if name != "tf":
        return None
    from mox_tf.engine import TensorFlowEngine

    return TensorFlowEngine()
