"""`mox plugins`: lists what is installed."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict

from mox_core.cli.output import table
from mox_core.plugins import PluginInfo, get_manager

__all__ = ["lines_of", "main"]

_NONE = """\
No plugins are installed.
  An engine is one; install it, for example, with:  pip install mox-tf"""


def main(args: Sequence[str]) -> int:
    """Runs `mox plugins`.

    Args:
        args: What follows `plugins` on the command line.

    Returns:
        0.
    """
    parser = argparse.ArgumentParser(
        prog="mox plugins",
        description="Lists the installed plugins: engines, storage drivers, data sets, observers.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with the hooks of each")
    options = parser.parse_args(args)
    infos = get_manager().infos()
    if options.json:
        print(json.dumps([{**asdict(info), "group": info.group} for info in infos], indent=2))
    else:
        print("\n".join(lines_of(infos)))
    return 0


def lines_of(infos: Sequence[PluginInfo]) -> list[str]:
    """The table of plugins, with what is wrong under each that is not in order."""
    if not infos:
        return [_NONE]
    header = ("name", "kind", "version", "distribution", "state")
    rows = [[getattr(info, field) for field in header] for info in infos]
    lines = table(header, rows)
    result = lines[:1]
    for info, line in zip(infos, lines[1:], strict=True):
        result.append(line)
        if info.error:
            result += textwrap.wrap(
                info.error, width=80, initial_indent="    ", subsequent_indent="    "
            )
    return result
