"""TensorFlow's errors, told in two lines."""

from __future__ import annotations

import os
import re
from typing import Any

from mox_core.errors import EngineError
from mox_tf.tf1 import TENSORFLOW_FOLDER, tf

__all__ = ["DATA_ENDED", "first_line", "input_error", "step_error"]

DATA_ENDED: Any = (tf.errors.OutOfRangeError, tf.errors.CancelledError)
"""What an operation raises when its queue or iterator has no more, or was closed under it."""

# Between "Graph execution error" and the sentence: where the operation was made.
_WHERE_DETECTED = re.compile(r"Detected at node .*?\nNode: '[^\n]*\n", re.DOTALL)

# What Python code in a graph raised of mox's own, before Python's traceback.
_OWN_ERROR = re.compile(r"\b(?:SampleError|DataError): (.*?)(?:\nTraceback|\Z)", re.DOTALL)

_NODE_NAME = re.compile(r"{{node ([^}\s]+)}}")
_LIBRARIES = (TENSORFLOW_FOLDER, os.path.dirname(os.path.abspath(__file__)) + os.sep)


# What TensorFlow puts before the sentence when the error comes from another process.
_NOTHING_SAID = ("From /job:", "Graph execution error:")


def first_line(error: BaseException) -> str:
    """The sentence of an error, without the tracebacks and graphs that TensorFlow appends."""
    text = getattr(error, "message", None) or str(error)
    text = _WHERE_DETECTED.sub("", text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = (line for line in lines if not line.startswith(_NOTHING_SAID))
    return next(said, type(error).__name__)


def input_error(mode: str, error: Exception) -> EngineError:
    """The error of a run whose input failed, as opposed to: came to its end."""
    own = _OWN_ERROR.search(str(error))
    said = own[1].strip() if own else first_line(error)
    return EngineError(f"input_fn({mode!s}) failed while it was read: {said}")


def step_error(step: str, error: Exception, graph: Any) -> EngineError:
    """The error of a step, with the operation that failed and the user's line that made it.

    Args:
        step: what was being done.
        error: TensorFlow's.
        graph: in which it was done.
    """
    named = _NODE_NAME.search(str(error))
    where = f" in operation {named[1]!r}{_user_line(graph, named[1])}" if named else ""
    return EngineError(f"{step} failed{where}:\n  {type(error).__name__}: {first_line(error)}")


def _user_line(graph: Any, operation: str) -> str:
    try:
        traceback = graph.get_operation_by_name(operation).traceback
    except KeyError:  # of a function's body, or made by an optimization
        return ""
    frames = [frame for frame in traceback if not frame.filename.startswith(_LIBRARIES)]
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
