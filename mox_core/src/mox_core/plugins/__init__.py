"""Plugins of mox: the hooks that they implement, and the manager that loads them."""

from __future__ import annotations

from mox_core.plugins.hookspecs import hookimpl
from mox_core.plugins.listing import PluginInfo
from mox_core.plugins.loader import PluginManager, get_manager

__all__ = ["PluginInfo", "PluginManager", "get_manager", "hookimpl"]
