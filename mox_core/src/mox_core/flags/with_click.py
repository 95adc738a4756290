"""Hides mox's flags from click commands that do not define them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import wraps
from typing import Any

from mox_core.errors import FlagError
from mox_core.flags.arguments import hide, normalized
from mox_core.flags.flag_registry import registry

__all__ = ["adapt", "adapt_typer"]


def adapt(core: Any) -> None:
    """Make click commands read `sys.argv` without the flags that are mox's alone.

    Args:
        core: the module `click.core`.
    """
    _adapt(next(cls for cls in core.Command.__mro__ if "main" in vars(cls)), core)


def adapt_typer(typer_core: Any) -> None:
    """Do the same for typer, whose commands have a `main` of their own.

    Args:
        typer_core: the module `typer.core`; it builds on click, or on a copy of it.
    """
    for owner in (typer_core.TyperCommand, typer_core.TyperGroup):
        command = next(cls for cls in owner.__mro__ if cls.__name__ == "Command")
        _adapt(owner, sys.modules[command.__module__])


def _adapt(owner: Any, core: Any) -> None:
    original = owner.main

    @wraps(original)
    def main(self: Any, args: Any = None, *others: Any, **options: Any) -> Any:
        if args is None:
            try:
                own = _own_arguments(core, self, sys.argv[1:])
            except core.UsageError as error:
                if not options.get("standalone_mode", True):
                    raise
                error.show()
                sys.exit(error.exit_code)
            # None where nothing is hidden: click on Windows expands wildcards only then.
            args = own if own != sys.argv[1:] else None
        return original(self, args, *others, **options)

    owner.main = main


def _own_arguments(core: Any, command: Any, args: list[str]) -> list[str]:
    defined: set[str] = set()
    for invoked in _commands(core, command, args):
        if invoked.context_settings.get("ignore_unknown_options"):
            return args
        for parameter in invoked.params:
            names = (*parameter.opts, *parameter.secondary_opts)
            defined.update(normalized(name) for name in names if name.startswith("-"))
    registry().complete(args, defined)
    try:
        return hide(args, registry().flags, defined)
    except FlagError as error:
        raise core.UsageError(str(error)) from None


def _commands(core: Any, command: Any, args: list[str]) -> Iterator[Any]:
    """Yield the command and, of a group, the commands that the arguments name."""
    yield command
    if not hasattr(command, "get_command"):
        return
    context = core.Context(command)
    for name in args:
        invoked = None
        # A group may object to a word that is no command of its own, only some option's value.
        with suppress(core.UsageError):
            invoked = command.get_command(context, name)
        if invoked is not None:
            yield from _commands(core, invoked, args)
