"""The entry point `compat` in group `mox.plugins`: `mox migrate`, and what `mox info` shows."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mox_core.plugins import hookimpl

if TYPE_CHECKING:
    from mox_core.cli.commands import Commands


@hookimpl
def mox_register_commands(subparsers: Commands) -> None:
    """Adds `mox migrate`."""
    from mox_compat.migrate import command

    command.register(subparsers)


@hookimpl
def mox_report_env() -> Mapping[str, str] | None:
    """Says whose `moxing` a script gets."""
    from mox_compat.aside import notice

    return {"moxing": notice() or "mox-compat"}


@hookimpl
def mox_prepare_script(script: str) -> None:
    """Says so where the real MoXing is installed, too."""
    import logging

    from mox_compat import aside

    text = aside.notice()
    if text is not None:
        logging.getLogger("mox").warning("%s", text)
        if os.environ.get(aside.SWITCH) == "first":
            aside.come_first()


@hookimpl
def mox_explain_error(error: BaseException) -> str | None:
    """Names what mox does not offer of MoXing, and where the script asks for it."""
    import mox_core
    from mox_core.cli.explain import place

    name = getattr(error, "name", None) or ""
    if isinstance(error, AttributeError):
        module = getattr(error.obj, "__name__", "")
        if not module.startswith("moxing"):
            return None
        symbol = f"{module}.{name}"
    elif isinstance(error, ImportError) and name.startswith("moxing"):
        imported = re.match(r"cannot import name '(\w+)'", str(error))
        symbol = f"{name}.{imported[1]}" if imported else name
    else:
        return None
    if symbol.count(".") == 1 and name in mox_core.__all__:
        return (
            f"{place(error)}: {symbol} is in moxing.tensorflow and moxing.pytorch.\n"
            "  Write:  import moxing.tensorflow as mox"
        )
    return (
        f"{place(error)}: mox does not offer {symbol} of MoXing.\n"
        "  docs/migrate.md lists what it offers, and what to use instead."
    )
