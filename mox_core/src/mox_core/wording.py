"""Words of messages that depend on what they speak of: articles, plurals, names of types."""

from __future__ import annotations

__all__ = ["a_type", "counted", "returned_type", "type_name"]


def type_name(value: object) -> str:
    """The type of a value as an error message names it, with its framework."""
    kind = type(value)
    root = kind.__module__.partition(".")[0]
    return kind.__name__ if root in ("builtins", "__main__") else f"{root} {kind.__name__}"


def a_type(value: object) -> str:
    """The same with its article: "a list", "an int", "a torch Tensor"."""
    name = type_name(value)
    return f"{'an' if name[0] in 'aeioAEIO' else 'a'} {name}"


def returned_type(value: object) -> str:
    """The same for what a function of the user returned, which may lack its `return`."""
    return "None (is a return missing?)" if value is None else a_type(value)


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number and what it counts: "1 variable", "1,000 variables".

    Args:
        count: how many.
        noun: one of them.
        plural: several of them, unless an s is enough.
    """
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"
