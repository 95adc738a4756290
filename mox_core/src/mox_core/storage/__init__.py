"""Storage: one file API over local disks, object stores and fsspec file systems."""

from __future__ import annotations
