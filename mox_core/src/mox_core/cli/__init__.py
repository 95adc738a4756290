"""The command `mox`. Each command is a module of its own, imported when it is called for."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mox_core.cli.output import print_error
from mox_core.errors import MoxError

if TYPE_CHECKING:
    from mox_core.cli.commands import Commands

__all__ = ["main"]

_BUILT_IN = {
    "run": "run a training script",
    "launch": "run a training script in several processes on this machine",
    "file": "list, copy, move and remove files of any store",
    "plugins": "list the installed plugins",
    "info": "describe this installation, for bug reports",
    "doctor": "load plugins for real and explain what fails",
    "checkpoint": "look into a checkpoint, or convert it for another engine",
    "net": "list the networks of the zoo, and show their layers",
}

_HELP = """\
usage: mox [options] <command> ...

Train models with the engine of your choice.

commands:
{commands}

options:
  -h, --help     show this help; `mox <command> --help` tells more
  --version      show the version of mox
  --no-plugins   leave observers and commands of plugins alone

The flags of training scripts:  mox run --mox-help
Tracebacks of errors:           MOX_DEBUG=1 mox ..."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `mox`.

    Args:
        argv: The arguments without the program's name; None takes them from `sys.argv`.

    Returns:
        The exit code: 0, 1 for a failure, 2 for a usage error, 130 after Ctrl-C.

    Raises:
        SystemExit: From argparse, or from the script that `mox run` runs.
    """
    try:
        code = _dispatch(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return code
    except MoxError as error:
        if os.environ.get("MOX_DEBUG"):
            raise
        print_error(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (`mox ... | head`) has seen enough; Python's own flush at exit must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _dispatch(args: list[str]) -> int:
    position = next((i for i, arg in enumerate(args) if not arg.startswith("-")), len(args))
    for option in args[:position]:
        if option == "--no-plugins":
            os.environ["MOX_NO_PLUGINS"] = "1"  # in the environment it reaches workers too
        elif option == "--version":
            from mox_core import __version__

            print(f"mox {__version__}")
            return 0
        elif option in ("-h", "--help"):
            print(_help())
            return 0
        else:
            print_error(f"unknown option {option}.\n  `mox --help` lists commands and options.")
            return 2
    if position == len(args):
        print(_help(), file=sys.stderr)
        return 2
    command, rest = args[position], args[position + 1 :]
    if command in _BUILT_IN:
        module = importlib.import_module(f"mox_core.cli.{command}")
        return int(module.main(rest))
    commands = _commands_of_plugins()
    if command in commands:
        return commands.run(command, rest)
    return _unknown(command, [*_BUILT_IN, *commands.summaries])


def _commands_of_plugins() -> Commands:
    from mox_core.cli.commands import Commands
    from mox_core.plugins import get_manager

    commands = Commands(reserved=_BUILT_IN)
    manager = get_manager()
    manager.load_observers()
    manager.notify("mox_register_commands", subparsers=commands)
    return commands


def _help() -> str:
    summaries = {**_BUILT_IN, **_commands_of_plugins().summaries}
    width = max(map(len, summaries))
    lines = (f"  {name:{width}}   {summary}".rstrip() for name, summary in summaries.items())
    return _HELP.format(commands="\n".join(lines))


def _unknown(command: str, known: list[str]) -> int:
    from mox_core.plugins.suggest import did_you_mean

    if command.endswith(".py"):
        advice = f"Run a script with:  mox run {command}"
    else:
        advice = "`mox --help` lists the commands."
    print_error(f"unknown command '{command}'.{did_you_mean(command, known)}\n  {advice}")
    return 2
