"""Where a run's lines go."""

from __future__ import annotations

import logging

from mox_core.errors import FlagError

__all__ = ["run_logger"]


def run_logger(name: str, level: str = "INFO") -> logging.Logger:
    """Returns the logger of a run, with a handler that prints `INFO:<name>:<message>`.

    A handler is added only when no other would print the line, so that a script's own
    logging set-up keeps its format and no line is printed twice.

    Args:
        name: `tensorflow` for the TensorFlow engine, and so on.
        level: set unless the script chose one.

    Raises:
        FlagError: there is no such level.
    """
    if not isinstance(logging.getLevelName(level.upper()), int):
        raise FlagError(
            f"flag --running_log_level: {level!r} is no level: use DEBUG, INFO, WARNING, ERROR."
        )
    logger = logging.getLogger(name)
    if logger.level == logging.NOTSET or getattr(logger, "_mox_level", None) == logger.level:
        logger.setLevel(level.upper())
        logger._mox_level = logger.level  # type: ignore[attr-defined]
    root_handlers = logging.getLogger().handlers
    # absl's handler prints in a format of its own, unknown to tools that read these lines.
    chosen_by_script = [h for h in root_handlers if not type(h).__module__.startswith("absl.")]
    if not logger.handlers and not chosen_by_script:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(logging.BASIC_FORMAT))
        logger.addHandler(handler)
    if logger.handlers and root_handlers and not chosen_by_script:
        logger.propagate = False
    return logger
