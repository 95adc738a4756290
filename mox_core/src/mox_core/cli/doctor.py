"""`mox doctor`: loads plugins for real, and explains what fails."""

from __future__ import annotations

import argparse
import textwrap
import traceback
from collections.abc import Sequence

from mox_core.errors import PluginError
from mox_core.plugins import PluginInfo, get_manager

__all__ = ["main"]


def main(args: Sequence[str]) -> int:
    """Runs `mox doctor`.

    Args:
        args: What follows `doctor` on the command line.

    Returns:
        0, or 1 when something fails.

    Raises:
        PluginError: A name that is not installed.
    """
    parser = argparse.ArgumentParser(
        prog="mox doctor",
        description="Loads engines with their frameworks, shows versions and devices, or the full "
        "traceback of what fails.",
    )
    parser.add_argument(
        "names", nargs="*", metavar="engine", help="default: all that are installed"
    )
    options = parser.parse_args(args)
    infos = [info for info in get_manager().infos() if _is_asked(info, options.names)]
    for name in options.names:
        if all(info.name != name for info in infos):
            get_manager().select("engine", name)  # raises the error that says what to install
    if not infos:
        raise PluginError("no engine is installed.\n  Install one with:  pip install mox-tf")
    return 0 if all([_examine(info) for info in infos]) else 1


def _is_asked(info: PluginInfo, names: Sequence[str]) -> bool:
    return info.name in names if names else info.kind == "engine"


def _examine(info: PluginInfo) -> bool:
    title = f"{info.kind} {info.name} ({info.distribution} {info.version})"
    try:
        description = _load(info)
    except Exception as error:
        print(f"{title}: FAILED")
        # A message of mox's own says it all; only what lies behind it has a traceback to show.
        cause = error.__cause__ if isinstance(error, PluginError) else error
        if cause is not None:
            text = "".join(traceback.format_exception(cause))
            print(textwrap.indent(text, "  ") + f"\n  {_remedy(info, cause)}")
        else:
            print(textwrap.indent(str(error), "  "))
        return False
    print(f"{title}: OK")
    width = max(map(len, description), default=0)
    for name, value in description.items():
        print(f"  {name:{width}}  {value}")
    return True


def _load(info: PluginInfo) -> dict[str, str]:
    manager = get_manager()
    if info.kind == "plugin":
        manager.load(info.kind, info.name)
        return {"hooks": ", ".join(info.hooks)}
    provided = manager.select(info.kind, info.name)
    return dict(provided.describe()) if info.kind == "engine" else {}


def _remedy(info: PluginInfo, error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError):
        return (
            f"The module '{error.name}' is missing. Install what {info.distribution} needs "
            f"with:  pip install {info.distribution}"
        )
    if isinstance(error, ImportError):
        return (
            "A library does not fit this Python or another library. Install it afresh with:\n"
            f"  pip install --upgrade --force-reinstall {info.distribution}"
        )
    return f"If the traceback does not tell why, report it to the authors of {info.distribution}."
