"""What the entry point names: tells mox about the engine and imports it when it is asked for."""

from __future__ import annotations

from mox_core import Engine, hookimpl


@hookimpl
def mox_engine(name: str) -> Engine | None:
    """Makes the engine `demo`."""
    if name != "demo":
        return None
    from mox_engine_demo.engine import DemoEngine

    return DemoEngine()
