"""The data plane that the S3 and OBS drivers share: small, without an SDK, without dependencies."""

from __future__ import annotations
