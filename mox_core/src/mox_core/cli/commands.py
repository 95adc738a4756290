"""The commands that plugins add to `mox`."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from typing import Any

from mox_core.errors import PluginError

__all__ = ["Commands"]


class Commands:
    """Takes commands from plugins, as argparse's sub-parsers would.

    Unlike these it refuses a name that is taken, on every Python version.

    Args:
        reserved: The names of mox's own commands.

    Attributes:
        summaries: The commands and what they do, in a line each.
    """

    def __init__(self, *, reserved: Collection[str]) -> None:
        self.summaries: dict[str, str] = {}
        self._reserved = reserved
        self._parsers: dict[str, argparse.ArgumentParser] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._parsers

    def add_parser(self, name: str, *, help: str = "", **options: Any) -> argparse.ArgumentParser:
        """Adds a command.

        Args:
            name: What the user types after `mox`.
            help: One line for `mox --help`.
            **options: As for `argparse.ArgumentParser`.

        Returns:
            The command's parser; tell it what to call by `set_defaults(run=function)`.

        Raises:
            ValueError: The name is taken.
        """
        if name in self._reserved or name in self._parsers:
            raise ValueError(f"the command '{name}' exists already")
        parser = argparse.ArgumentParser(**{"prog": f"mox {name}", "description": help, **options})
        self._parsers[name] = parser
        self.summaries[name] = help
        return parser

    def run(self, name: str, args: Sequence[str]) -> int:
        """Parses the arguments of a command and runs it.

        Args:
            name: The command.
            args: What follows it on the command line.

        Returns:
            Its exit code.

        Raises:
            PluginError: The plugin did not say what to call.
        """
        parsed = self._parsers[name].parse_args(args)
        function = getattr(parsed, "run", None)
        if not callable(function):
            raise PluginError(
                f"the command '{name}' does nothing: its plugin gave no function to call.\n"
                "  Its author must call parser.set_defaults(run=function)."
            )
        return int(function(parsed) or 0)
