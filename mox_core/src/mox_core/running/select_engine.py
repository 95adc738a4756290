"""Which engine a run uses."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from mox_core.engine import Engine
from mox_core.errors import EngineError
from mox_core.plugins import get_manager
from mox_core.wording import a_type

__all__ = ["engine_name", "select_engine"]


def select_engine(argument: str | Engine | None, get_flag: Callable[[str], Any]) -> Engine:
    """Returns the engine: argument, flag, `MOX_ENGINE`, pyproject.toml, or the only one installed.

    Args:
        argument: `mox.run(engine=...)`: a name, an Engine, or None.
        get_flag: reads a flag; `engine` also holds `MOX_ENGINE`.

    Raises:
        EngineError: there is none, there are several and no choice, argument and flag differ.
        PluginError: the chosen one is not installed or failed to load.
    """
    flag = get_flag("engine") or None
    name = argument.name if isinstance(argument, Engine) else argument
    if name and flag and name != flag:
        raise EngineError(
            f"the script fixes engine {name!r}, but --engine (or MOX_ENGINE) says {flag!r}.\n"
            "  Remove one of the two; `import mox_core as mox` leaves the choice to the flag."
        )
    if isinstance(argument, Engine):
        return argument
    chosen: str = name or flag or _from_pyproject() or _only_one()
    engine = get_manager().select("engine", chosen)
    if not isinstance(engine, Engine):
        raise EngineError(
            f"plugin {chosen!r} returned {a_type(engine)} from mox_engine; it has to be "
            "a mox_core.engine.Engine.\n  Report this to its authors."
        )
    return engine


def engine_name(chosen: str | None) -> str | None:
    """The engine of a script that is not run here: as in `select_engine`, but None if open."""
    name = chosen or os.environ.get("MOX_ENGINE") or _from_pyproject()
    names = get_manager().names("engine")
    return name or (names[0] if len(names) == 1 else None)


def _only_one() -> str:
    manager = get_manager()
    names = manager.names("engine")
    if len(names) == 1:
        return names[0]
    installed = sorted({candidate.name for candidate in manager.candidates("engine")})
    if not names and installed:
        raise EngineError(
            f"MOX_PLUGINS={','.join(sorted(manager.only or ()))} excludes every engine that is "
            f"installed ({', '.join(installed)}).\n  Add one of them to it, or unset it."
        )
    if not names:
        raise EngineError(
            "no engine is installed.\n  Install one, for example with:  pip install mox-tf"
        )
    raise EngineError(
        f"several engines are installed ({', '.join(names)}) and none is chosen.\n"
        f"  Choose with --engine {names[0]}, MOX_ENGINE={names[0]} or mox.run(engine={names[0]!r})."
    )


def _from_pyproject() -> str | None:
    """`[tool.mox] engine` of the pyproject.toml in this folder or the nearest above."""
    folder = os.getcwd()
    while True:
        path = os.path.join(folder, "pyproject.toml")
        if os.path.isfile(path):
            return _read_engine(path)
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent


def _read_engine(path: str) -> str | None:
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib  # type: ignore[no-redef, unused-ignore]
    try:
        with open(path, "rb") as file:
            engine = tomllib.load(file).get("tool", {}).get("mox", {}).get("engine")
    except (OSError, ValueError) as error:
        raise EngineError(f"{path} cannot be read: {error}") from error
    if engine is not None and not isinstance(engine, str):
        raise EngineError(f"{path}: [tool.mox] engine is {engine!r}; it has to be a string.")
    return engine
