"""`mox.file`: read, write, list and copy files on local disks, S3, OBS and more."""

from __future__ import annotations

from mox_core.storage import api as _api
from mox_core.storage.api import *  # noqa: F403

__all__ = list(_api.__all__)
