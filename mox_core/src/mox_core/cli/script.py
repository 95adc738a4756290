"""Runs a file as the program `__main__`, as Python itself would."""

from __future__ import annotations

import builtins
import os
import sys
from importlib.machinery import SourceFileLoader
from types import ModuleType

from mox_core.cli.explain import explain
from mox_core.cli.output import print_error
from mox_core.errors import MoxError

__all__ = ["run_script"]


def run_script(path: str) -> int:
    """Runs a Python file; `sys.argv` has been set for it.

    Not by `runpy.run_path`, which takes the script's globals away from threads and exit
    functions that outlive it, and which leaves `sys.path[0]` as it is.

    Args:
        path: The file.

    Returns:
        0; 1 when it raised, after printing what that means or the traceback as Python would; 2
        when it is no file.

    Raises:
        MoxError: The script did not handle an error of mox.
        SystemExit: The script ended itself.
    """
    full_path = os.path.abspath(path)
    try:
        with open(full_path, "rb") as file:
            source = file.read()
    except OSError as error:
        print_error(f"cannot read the script '{path}': {error.strerror} ({full_path}).")
        return 2
    module = ModuleType("__main__")
    module.__file__ = full_path
    module.__loader__ = SourceFileLoader("__main__", full_path)
    module.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = module
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = os.path.dirname(os.path.realpath(full_path))
    try:
        exec(compile(source, full_path, "exec", dont_inherit=True), module.__dict__)
    except MoxError:
        raise
    except Exception as error:
        # Without the frame of this function the traceback is the script's own.
        own = error.__traceback__.tb_next if error.__traceback__ else None
        explanation = explain(error.with_traceback(own))
        if explanation is not None and not os.environ.get("MOX_DEBUG"):
            print_error(explanation)
            return 1
        sys.excepthook(type(error), error.with_traceback(own), own)
        return 1
    return 0
