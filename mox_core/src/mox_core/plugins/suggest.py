"""A suggestion for a mistyped name, for error messages."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["did_you_mean"]


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Suggests the choice that looks most like a name.

    Args:
        name: What the user wrote.
        choices: The names that exist.

    Returns:
        `" Did you mean 'x'?"`, to be appended to a sentence, or `""` when nothing is similar.
    """
    import difflib

    by_lower_case = {choice.lower(): choice for choice in choices}
    matches = difflib.get_close_matches(name.lower(), by_lower_case, n=1)
    return f" Did you mean '{by_lower_case[matches[0]]}'?" if matches else ""
