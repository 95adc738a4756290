"""What plain `python script.py` says below the traceback of a script for TensorFlow 1."""

from __future__ import annotations

import sys
from types import TracebackType

from mox_core.errors import MoxError

__all__ = ["install"]


def install() -> None:
    """Lets the interpreter say what an error means that nobody caught, as `mox run` does."""
    previous = sys.excepthook

    def hook(
        kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        previous(kind, error, traceback)
        if isinstance(error, (AttributeError, ImportError)) and not isinstance(error, MoxError):
            from mox_core.cli.explain import explain
            from mox_core.cli.output import print_error
            from mox_core.plugins import get_manager

            get_manager().load_observers()
            explanation = explain(error)
            if explanation is not None:
                print_error(explanation)

    sys.excepthook = hook
