"""`mox run`: runs a training script."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mox_core.cli.output import print_error
from mox_core.cli.script import run_script

__all__ = ["main"]

_HELP = """\
usage: mox run [flags of mox] script.py [arguments of the script and flags of mox]

Runs a script as `python script.py` would, with the flags of mox known before the
script reads its command line.

examples:
  mox run train.py
  mox run --engine tf train.py --epochs 3
  mox run train.py --engine tf --epochs 3

  -h, --help     show this help
  --mox-help     list the flags of mox"""


def main(args: Sequence[str]) -> int:
    """Runs `mox run`.

    Args:
        args: What follows `run` on the command line.

    Returns:
        The exit code.
    """
    from mox_core.flags import registry
    from mox_core.plugins import get_manager

    registry().parse(["mox", *args])
    _load_observers()
    position = _position_of_script(args)
    if position < len(args) and args[position] in ("-h", "--help"):
        print(_HELP)
        return 0
    before, after = list(args[:position]), list(args[position:])
    if after[:1] == ["--"]:
        del after[0]
    elif after and after[0].startswith("-"):
        print_error(
            f"mox run does not know {after[0]}.\n"
            "  Options of the script go after its name; `mox run --mox-help` lists mox's own."
        )
        return 2
    if not after:
        print_error("mox run needs a script.\n  For example:  mox run train.py")
        return 2
    sys.argv = [after[0], *before, *after[1:]]
    registry().parse(sys.argv)
    get_manager().notify("mox_prepare_script", script=after[0])
    return run_script(after[0])


def _load_observers() -> None:
    """Loads plugins now, so that flags of theirs are known on the command line."""
    from mox_core.flags import get_flag
    from mox_core.plugins import get_manager

    manager = get_manager()
    if get_flag("no_plugins"):
        manager.configure(enabled=False)
    manager.load_observers()


def _position_of_script(args: Sequence[str]) -> int:
    from mox_core.flags import registry
    from mox_core.flags.arguments import scan

    position = 0
    for found in scan(args, registry().flags):
        if found.start != position:
            break
        position = found.stop
    return position
