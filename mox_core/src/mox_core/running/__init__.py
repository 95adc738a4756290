"""mox.run and what belongs to it: plan, loop, state, interrupts, export."""

from mox_core.running.runner import run
from mox_core.running.state import RunResult, RunState

__all__ = ["RunResult", "RunState", "run"]
