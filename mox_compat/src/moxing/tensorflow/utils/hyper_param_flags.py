"""mox's flags (manual 004, section 1)."""

from __future__ import annotations

from typing import Any

from mox_core.flags import get_flag, registry, set_flag

__all__ = ["get_flag", "mox_flags", "set_flag"]


class _Flags:
    """All flags as attributes: `mox_flags.num_gpus`."""

    def get_help(self) -> str:
        """Returns a text with all flags."""
        return registry().describe()

    def __getattr__(self, name: str) -> Any:
        if name not in registry().flags:
            raise AttributeError(f"mox has no flag {name!r}")
        return get_flag(name)


mox_flags = _Flags()
