"""The driver of `obs://` URLs for mox.file."""

from __future__ import annotations

__version__ = "0.1.0"
