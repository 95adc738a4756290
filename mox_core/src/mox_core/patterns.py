"""Names of variables: flags that hold regular expressions of them, and scopes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from mox_core.errors import FlagError

__all__ = ["in_scopes", "is_trainable", "read_patterns"]


def in_scopes(name: str, scopes: Sequence[str] | None) -> bool:
    """Whether a variable lies in one of the scopes; None means all."""
    return scopes is None or any(name == one or name.startswith(f"{one}/") for one in scopes)


def read_patterns(get_flag: Callable[[str], Any], flag: str) -> tuple[re.Pattern[str], ...]:
    """The regular expressions of a flag, which commas separate.

    Args:
        get_flag: reads a flag.
        flag: its name.

    Raises:
        FlagError: one is none.
    """
    texts = [part.strip() for part in (get_flag(flag) or "").split(",")]
    try:
        return tuple(re.compile(text) for text in texts if text)
    except re.error as error:
        raise FlagError(
            f"--{flag}: {error.pattern!r} is not a regular expression: {error}."
        ) from error


def is_trainable(get_flag: Callable[[str], Any]) -> Callable[[str], bool]:
    """Name of a variable -> whether `--trainable_*_patterns` let it be trained.

    Raises:
        FlagError: a pattern is no regular expression.
    """
    include = read_patterns(get_flag, "trainable_include_patterns")
    exclude = read_patterns(get_flag, "trainable_exclude_patterns")

    def admits(name: str) -> bool:
        wanted = not include or any(one.search(name) for one in include)
        return wanted and not any(one.search(name) for one in exclude)

    return admits
