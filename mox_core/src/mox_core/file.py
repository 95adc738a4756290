"""`mox.file`: read, write, list and copy files on local disks, S3, OBS and more."""

from __future__ import annotations

import sys

from mox_core.storage import api as _api
from mox_core.storage.api import *  # noqa: F403

__all__ = list(_api.__all__)

file_io = sys.modules[__name__]
"""MoXing's inner module: scripts set its tuning variables, which mean nothing here."""
