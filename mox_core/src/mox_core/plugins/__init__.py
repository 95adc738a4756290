"""Plugins of mox: the hooks that they implement, and the manager that loads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mox_core._lazy import lazy_names
from mox_core.plugins.hookspecs import hookimpl
from mox_core.plugins.loader import PluginManager, get_manager

if TYPE_CHECKING:
    from mox_core.plugins.listing import PluginInfo

__all__ = ["PluginInfo", "PluginManager", "get_manager", "hookimpl"]

__getattr__, __dir__ = lazy_names(__name__, {"PluginInfo": "mox_core.plugins.listing"})
