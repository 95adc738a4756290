"""The entry point `tf1` in group `mox.plugins`: `mox run --tf1`.

Not inside of mox_tf, as `mox_tf_plugin`: it is loaded by every command of mox.
"""

from __future__ import annotations

import sys

from mox_core.flags import FlagRegistry, get_flag
from mox_core.flags.flag import Flag
from mox_core.plugins import hookimpl

_FLAG = Flag(
    "tf1",
    bool,
    False,
    "for mox run: show TensorFlow 1 to a script written for it",
    "TensorFlow",
    of_run=False,
)


@hookimpl
def mox_add_flags(registry: FlagRegistry) -> None:
    """Defines `--tf1`."""
    registry.define(_FLAG)


@hookimpl
def mox_prepare_script(script: str) -> None:
    """Shows TensorFlow 1 to the script."""
    if get_flag("tf1"):
        from mox_tf.tf1_view import install

        install(script)


@hookimpl
def mox_explain_error(error: BaseException) -> str | None:
    """Says what takes the place of names that TensorFlow does not have any more."""
    if "mox_tf.tf1_view" not in sys.modules:
        return None
    from mox_tf.tf1_view.explaining import explain

    return explain(error)
