"""The parts of StorageSuite."""

from __future__ import annotations
