"""Finds mox's flags in a command line, and hides them from other parsers."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mox_core.flags.flag import Flag

__all__ = ["Found", "has_unknown", "hide", "normalized", "scan"]

_NEGATIVE_NUMBER = re.compile(r"-\.?\d")


@dataclass(frozen=True)
class Found:
    """A flag in a command line.

    Attributes:
        flag: the flag.
        written: the name as given, normalized; differs from the flag's in `--noflag`.
        text: the value as text; None when it is missing.
        start: index of its first argument.
        stop: index after its last argument.
    """

    flag: Flag
    written: str
    text: str | None
    start: int
    stop: int


def normalized(option: str) -> str:
    """Return the name in an option such as `--num-gpus`: `num_gpus`."""
    return option.lstrip("-").replace("-", "_")


def scan(args: Sequence[str], flags: Mapping[str, Flag]) -> Iterator[Found]:
    """Yield the flags found in the arguments (without the program's name), up to `--`.

    The forms are `--name value`, `--name=value`, `-name=value` and, for booleans, `--name`,
    `--noname`, `--no_name`. Dashes in a name stand for underscores.
    """
    index = 0
    while index < len(args) and args[index] != "--":
        found = _found_at(args, index, flags)
        if found is not None:
            yield found
        index = found.stop if found is not None else index + 1


def _found_at(args: Sequence[str], index: int, flags: Mapping[str, Flag]) -> Found | None:
    option, equals, text = args[index].partition("=")
    # `-name value` is left alone: to argparse and click it is `-n` with the value `ame`.
    if not option.startswith("--" if not equals else "-"):
        return None
    written = normalized(option)
    flag = flags.get(written)
    stop = index + 1
    if flag is None:
        flag = flags.get(re.sub("^no_?", "", written))
        if flag is None or flag.type is not bool or equals:
            return None
        return Found(flag, written, "false", index, stop)
    if equals:
        return Found(flag, written, text, index, stop)
    if flag.type is bool:
        return Found(flag, written, "true", index, stop)
    if stop < len(args) and (not args[stop].startswith("-") or _NEGATIVE_NUMBER.match(args[stop])):
        return Found(flag, written, args[stop], index, stop + 1)
    return Found(flag, written, None, index, stop)


def has_unknown(args: Sequence[str], flags: Mapping[str, Flag], known: Collection[str]) -> bool:
    """Whether there is an option, up to `--`, that is neither a flag nor known."""
    for argument in args[: args.index("--")] if "--" in args else args:
        written = normalized(argument.partition("=")[0])
        if argument.startswith("--") and written not in known and written not in flags:
            return True
    return False


def hide(args: Sequence[str], flags: Mapping[str, Flag], defined: Collection[str]) -> list[str]:
    """Return the arguments without mox's flags, but with those that the parser defines itself.

    Args:
        args: the command line without the program's name.
        flags: mox's flags.
        defined: normalized names of the parser's own options.

    Raises:
        FlagError: a flag to be hidden lacks its value, or the value does not fit.
    """
    kept: list[str] = []
    position = 0
    for found in scan(args, flags):
        if found.written in defined or found.flag.name in defined:
            continue
        found.flag.from_argument(found.text)
        kept += args[position : found.start]
        position = found.stop
    return kept + list(args[position:])
