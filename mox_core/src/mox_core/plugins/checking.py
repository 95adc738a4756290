"""Checks that a plugin fits the hook specifications, before it is let near the others."""

from __future__ import annotations

import pluggy

from mox_core.plugins import hookspecs
from mox_core.plugins.suggest import did_you_mean

__all__ = ["hooks_of", "new_pluggy_manager"]


def new_pluggy_manager() -> pluggy.PluginManager:
    """A manager that knows mox's hooks and no plugin."""
    manager = pluggy.PluginManager("mox")
    manager.add_hookspecs(hookspecs)
    return manager


def hooks_of(plugin: object) -> tuple[str, ...]:
    """The hooks that a plugin implements, in alphabetical order.

    Args:
        plugin: A module or an object.

    Raises:
        ValueError: It implements an unknown hook, or one in a way that is not supported.
    """
    trial = new_pluggy_manager()
    try:
        trial.register(plugin)
    except pluggy.PluginValidationError as error:
        raise ValueError("; ".join(str(error).splitlines()[1:])) from error
    known = [name for name in vars(hookspecs) if name.startswith("mox_")]
    for caller in trial.get_hookcallers(plugin) or ():
        for implementation in caller.get_hookimpls():
            if not caller.has_spec() and not implementation.optionalhook:
                hint = did_you_mean(caller.name, known)
                raise ValueError(f"it implements the unknown hook {caller.name}.{hint}")
            if implementation.wrapper or implementation.hookwrapper:
                raise ValueError(f"its {caller.name} is a hook wrapper, which mox does not call")
    return tuple(sorted(caller.name for caller in trial.get_hookcallers(plugin) or ()))
