"""Errors that a user of mox can mend.

Every message says what was wrong, where, and what to do, in one or two lines. Subclasses also
derive from the built-in exception that existing scripts catch.
"""

from __future__ import annotations

__all__ = [
    "CheckpointError",
    "DataError",
    "EngineError",
    "ExportError",
    "ExportExistsError",
    "FlagError",
    "ModeError",
    "MoxError",
    "NanLossError",
    "PluginError",
    "ProcessLostError",
    "SpecError",
]


class MoxError(Exception):
    """Base of all errors raised by mox on purpose."""


class SpecError(MoxError, ValueError):
    """A ModelSpec, an ExportSpec or an argument of `mox.run` does not fit."""


class ModeError(SpecError):
    """A run mode that does not exist or does not fit."""


class FlagError(MoxError, ValueError):
    """An unknown flag name, or a value that does not fit the flag."""


class PluginError(MoxError, RuntimeError):
    """A plugin is absent, broken or incompatible."""


class EngineError(MoxError, RuntimeError):
    """No engine, several engines and no choice, or an engine that cannot do what was asked."""


class ProcessLostError(EngineError):
    """Another process of the cluster is gone, and with it variables that this one needs."""


class CheckpointError(MoxError, RuntimeError):
    """A checkpoint is missing, damaged, does not fit the model, or cannot be written."""


class DataError(MoxError, ValueError):
    """A data set, or a sample of it, is missing, damaged, or does not fit."""


class ExportError(MoxError, RuntimeError):
    """A model cannot be exported."""


class ExportExistsError(ExportError, AssertionError):
    """The export directory exists already."""


class NanLossError(MoxError, ArithmeticError):
    """A loss or a variable is not finite."""
