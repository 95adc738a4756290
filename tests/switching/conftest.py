"""All engines that are installed here, side by side in one process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mox_core.engine import EngineConfig, ProgramRequest
from mox_core.errors import MoxError
from mox_core.flags import get_flag, registry, set_flag
from mox_core.plugins import get_manager

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="session")
def engines():
    """Their names."""
    found = []
    for name in sorted(get_manager().names("engine")):
        try:
            get_manager().select("engine", name)
        except MoxError:  # its framework is not installed
            continue
        found.append(name)
    if len(found) < 2:
        pytest.skip(f"switching takes two engines; installed: {', '.join(found) or 'none'}")
    return found


@pytest.fixture
def example(monkeypatch):
    """The script that names no engine, as a module."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import train_mnist_any_engine

    return train_mnist_any_engine


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["test"])
    registry().reset()
    set_flag("silent", True)
    yield
    registry().reset()


@pytest.fixture
def build():
    """Builds neutral programs: `build(engine, mode, batches, model_fn)`."""
    open_now = []

    def build(name, mode, batches, model_fn, **request):
        engine = get_manager().select("engine", name)
        engine.setup(EngineConfig(towers=1, get_flag=get_flag))
        program = engine.build(
            ProgramRequest(mode, lambda mode: batches, model_fn, neutral=True, **request)
        )
        open_now.append((program, engine))
        program.start()
        return program

    def close():
        while open_now:
            for one in open_now.pop():
                one.close()

    build.close = close
    yield build
    close()
