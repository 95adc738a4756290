"""What `mox plugins` and `mox info` say of a plugin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mox_core.plugins.discovery import GROUPS, Kind

__all__ = ["PluginInfo", "State"]

State = Literal["ok", "broken", "disabled", "incompatible", "duplicate"]


@dataclass(frozen=True)
class PluginInfo:
    """One plugin, as installed.

    Args:
        name: The entry-point name: an engine's name, a URL scheme, ...
        kind: What it provides: "engine", "storage", "dataset" or "plugin".
        distribution: Who registers it; "" for one that the running program registered itself.
        version: The version of that distribution.
        state: "ok"; "broken" (its module fails), "disabled" (`MOX_PLUGINS`, `--no-plugins`),
            "incompatible" (made for another mox-core), "duplicate" (its name is taken twice).
        error: What is wrong, in one line, when the state is not "ok".
        hooks: The hooks that it implements, when it could be loaded.
    """

    name: str
    kind: Kind
    distribution: str
    version: str
    state: State = "ok"
    error: str | None = None
    hooks: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """The entry-point group."""
        return GROUPS[self.kind]
