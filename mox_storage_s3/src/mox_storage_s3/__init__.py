"""The driver of `s3://` URLs for mox.file."""

from __future__ import annotations

__version__ = "0.1.0"
