"""mox.run and what belongs to it: plan, loop, state, interrupts, export."""

from mox_core.run.runner import run
from mox_core.run.state import RunResult, RunState

__all__ = ["RunResult", "RunState", "run"]
