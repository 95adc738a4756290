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
        return _of_tensorflow_1(error)
    from mox_tf.tf1_view.explaining import explain

    return explain(error)


def _of_tensorflow_1(error: BaseException) -> str | None:
    """Says how to run a script that asked TensorFlow 2 for what only TensorFlow 1 has."""
    from mox_core.cli.explain import place

    module, name = getattr(error, "obj", None), getattr(error, "name", None) or ""
    if isinstance(error, ModuleNotFoundError):
        there = name.startswith(("tensorflow.contrib", "tensorflow.examples"))
        symbol = name
    else:
        package = sys.modules.get("tensorflow")
        there = isinstance(error, AttributeError) and package is not None and module is package
        there = there and (name == "contrib" or hasattr(package.compat.v1, name))
        symbol = f"tf.{name}"
    if not there:
        return None
    script = sys.argv[0] or "script.py"
    return (
        f"{place(error)}: {symbol} is of TensorFlow 1; `import tensorflow` is version 2.\n"
        f"  Run the script with:  mox run --tf1 {script}"
    )
