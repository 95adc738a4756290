"""The entry points of mox-core's own drivers."""

from __future__ import annotations
