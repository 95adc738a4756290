"""Comparing what was read with what was written."""

from __future__ import annotations

import pytest

__all__ = ["same"]


def same(found: bytes, expected: bytes) -> None:
    """Asserts that long contents are equal.

    A plain assert would let pytest print their difference, line by line, which takes minutes for
    some 100 kB where a CI server is noticed.
    """
    if found != expected:
        shorter = min(len(found), len(expected))
        at = next((at for at in range(shorter) if found[at] != expected[at]), shorter)
        pytest.fail(f"{len(found)} bytes instead of {len(expected)}; they differ from byte {at} on")
