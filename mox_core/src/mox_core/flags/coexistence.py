"""Makes mox's flags and a script's own command-line parser share one command line.

The rule: a parser sees a flag of mox when it defines an option of that name itself, otherwise
not. `sys.argv` stays as it is. Only parsing of `sys.argv` is concerned: a parser that gets its
arguments explicitly, or that collects unknown ones (argparse's `REMAINDER`, click's
`ignore_unknown_options`), gets all of them. `MOX_FLAGS=off` switches this off.
"""

from __future__ import annotations

import os
import sys

from mox_core._import_hooks import when_imported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["install"]


def install() -> None:
    """Adapt argparse, absl, click and typer once they are imported; answer `--mox-help`.

    Raises:
        SystemExit: the command line asked for `--mox-help`; the text has been printed.
    """
    if _help_wanted(sys.argv[1:]):
        from mox_core.flags.flag_registry import registry

        print(registry().describe())
        raise SystemExit(0)
    if os.environ.get("MOX_FLAGS", "").lower() != "off":
        when_imported("argparse", _adapt_argparse)
        when_imported("absl.flags", _adapt_absl)
        when_imported("click.core", _adapt_click)
        when_imported("typer.core", _adapt_typer)


def _help_wanted(args: list[str]) -> bool:
    end = args.index("--") if "--" in args else len(args)
    return "--mox-help" in args[:end] or "--mox_help" in args[:end]


def _adapt_argparse(argparse: Any) -> None:
    from mox_core.flags import with_argparse

    with_argparse.adapt(argparse)


def _adapt_absl(absl_flags: Any) -> None:
    from mox_core.flags import with_absl

    with_absl.adapt(absl_flags)


def _adapt_click(core: Any) -> None:
    from mox_core.flags import with_click

    with_click.adapt(core)


def _adapt_typer(core: Any) -> None:
    from mox_core.flags import with_click

    with_click.adapt_typer(core)
