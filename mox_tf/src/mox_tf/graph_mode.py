"""TensorFlow 1 behaviour, switched on in every process that uses mox_tf."""

from __future__ import annotations

import logging
import os
from typing import Any

__all__ = ["quieten_tensorflow", "use_graph_mode"]


def quieten_tensorflow() -> None:
    """Keeps back the INFO and WARNING lines of TensorFlow's C++ side, unless the user set a level.

    Has an effect only before TensorFlow is imported.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def use_graph_mode(tensorflow: Any) -> None:
    """Makes `tensorflow.compat.v1` behave as TensorFlow 1 did, but with resource variables.

    Reference variables, the default of TensorFlow 1, let an update overtake a read of the same
    step, which gives wrong gradients. May be called more than once.

    Args:
        tensorflow: the imported module.
    """
    logger = logging.getLogger("tensorflow")
    if _no_deprecation not in logger.filters:
        logger.addFilter(_no_deprecation)
    tensorflow.compat.v1.disable_v2_behavior()
    tensorflow.compat.v1.enable_resource_variables()


def _no_deprecation(record: logging.LogRecord) -> bool:
    """Drops the warnings that TensorFlow 1 is old: they would bury the lines of the run."""
    return not str(record.msg).startswith("From %s: ")
