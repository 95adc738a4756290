"""The loaded plugins, and calls to their hooks in which each plugin fails alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pluggy

from mox_core._lazy import lazy_logger
from mox_core.plugins.checking import new_pluggy_manager
from mox_core.plugins.messages import one_line

__all__ = ["LoadedPlugins"]

logger = lazy_logger("mox")


class LoadedPlugins:
    """Plugins by their full names ("group:name"), and the hooks that they implement."""

    def __init__(self) -> None:
        self._pluggy = new_pluggy_manager()
        self._plugins: dict[str, object] = {}
        self._implementations: dict[str, list[pluggy.HookImpl]] = {}
        self._warned: set[str] = set()

    def __contains__(self, full_name: str) -> bool:
        return full_name in self._plugins

    def __getitem__(self, full_name: str) -> object:
        return self._plugins[full_name]

    @property
    def hook(self) -> pluggy.HookRelay:
        """The relay of pluggy, which isolates nothing."""
        return self._pluggy.hook

    def add(self, full_name: str, plugin: object) -> None:
        """Adds a plugin that has been checked."""
        # One module may stand behind several entry points; its hooks are called once.
        if not self._pluggy.is_registered(plugin):
            self._pluggy.register(plugin, name=full_name)
        self._plugins[full_name] = plugin
        self._implementations.clear()

    def drop(self, full_name: str) -> None:
        """Takes a plugin away."""
        plugin = self._plugins.pop(full_name)
        if not any(other is plugin for other in self._plugins.values()):
            self._pluggy.unregister(plugin)
        self._implementations.clear()

    def implementations(self, hook: str) -> list[pluggy.HookImpl]:
        """The implementations of a hook, in the order in which they are called."""
        found = self._implementations.get(hook)
        if found is None:
            # pluggy keeps them in the reverse of that order.
            found = getattr(self._pluggy.hook, hook).get_hookimpls()[::-1]
            self._implementations[hook] = found
        return found

    def call_one(self, full_name: str, hook: str, **arguments: object) -> Any:
        """Calls the hook of one plugin and lets its exceptions through; None if it has none."""
        for implementation in self.implementations(hook):
            if implementation.plugin is self._plugins[full_name]:
                return _call(implementation, arguments)
        return None

    def call_isolated(
        self, implementation: pluggy.HookImpl, arguments: Mapping[str, object]
    ) -> Any:
        """Calls one implementation; when it raises, warns the first time and returns None."""
        try:
            return _call(implementation, arguments)
        except Exception as error:
            name = implementation.plugin_name
            self.warn_once(
                name,
                f"plugin '{name}' failed in {implementation.function.__name__}: {one_line(error)} "
                "(said once; the run goes on)",
                error,
            )
            return None

    def warn_once(self, full_name: str, text: str, error: BaseException | None = None) -> None:
        """Logs the first warning about a plugin, with a traceback when `MOX_DEBUG` is set."""
        if full_name not in self._warned:
            self._warned.add(full_name)
            logger.warning("%s", text, exc_info=error if os.environ.get("MOX_DEBUG") else None)


def _call(implementation: pluggy.HookImpl, arguments: Mapping[str, object]) -> Any:
    return implementation.function(*[arguments[name] for name in implementation.argnames])
