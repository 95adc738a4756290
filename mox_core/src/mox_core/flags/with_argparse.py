"""Hides mox's flags from argparse parsers that do not define them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import wraps
from typing import Any

from mox_core.errors import FlagError
from mox_core.flags.arguments import hide, normalized
from mox_core.flags.flag_registry import registry

__all__ = ["adapt"]


def adapt(argparse: Any) -> None:
    """Make `ArgumentParser.parse_args()` read `sys.argv` without the flags that are mox's alone.

    They must be gone before argparse looks: it would take the value of an unknown option for a
    positional argument, and an abbreviated option of the script for one of mox's flags.
    """
    for name in ("parse_args", "parse_intermixed_args"):
        original = getattr(argparse.ArgumentParser, name)
        setattr(argparse.ArgumentParser, name, _parsing_without_flags(argparse, original))


def _parsing_without_flags(argparse: Any, original: Any) -> Any:
    @wraps(original)
    def parse(self: Any, args: Any = None, namespace: Any = None) -> Any:
        if args is None:
            args = _own_arguments(argparse, self, sys.argv[1:])
        return original(self, args, namespace)

    return parse


def _own_arguments(argparse: Any, parser: Any, args: list[str]) -> list[str]:
    defined: set[str] = set()
    for action in _actions(argparse, parser, args):
        if action.nargs == argparse.REMAINDER:
            return args
        defined.update(map(normalized, action.option_strings))
    registry().complete(args, defined)
    try:
        return hide(args, registry().flags, defined)
    except FlagError as error:
        parser.error(str(error))
        raise


def _actions(argparse: Any, parser: Any, args: list[str]) -> Iterator[Any]:
    """Yield the actions of the parser and of the sub-parsers that the arguments name."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for name, sub_parser in action.choices.items():
                if name in args:
                    yield from _actions(argparse, sub_parser, args)
