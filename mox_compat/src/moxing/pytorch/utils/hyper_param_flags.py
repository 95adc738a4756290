"""mox's flags."""

from __future__ import annotations

from mox_core.flags import get_flag, set_flag

__all__ = ["get_flag", "set_flag"]
