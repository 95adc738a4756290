"""Checkpoints move between engines through neutral names.

An engine reads and writes its own files without a model (`Engine.read_variables`,
`Engine.write_variables`); what lies between is name -> array, images and kernels in the layouts
of `docs/nn.md`. The same goes into and out of plain safetensors files.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from mox_core.checkpoint import (
    POINTER,
    CheckpointStore,
    copy_checkpoint,
    engine_that_reads,
    latest_checkpoint,
    read_record,
    require_checkpoint,
    step_in_name,
)
from mox_core.engine import Engine, VariableInfo
from mox_core.errors import CheckpointError
from mox_core.plugins import get_manager
from mox_core.safetensors_file import SUFFIX, read_arrays, write_arrays
from mox_core.storage.api import copy, copy_parallel, exists, is_directory
from mox_core.storage.copying import scratch
from mox_core.storage.urls import is_remote
from mox_core.tf_checkpoint import TensorFlowCheckpoint

__all__ = ["SAFETENSORS", "Converted", "convert_checkpoint"]

SAFETENSORS = "safetensors"
"""What `to` is for a file of weights that belongs to no engine."""

_GLOBAL_STEP = "global_step"
T = TypeVar("T")


@dataclass(frozen=True)
class Converted:
    """What came of a conversion.

    Args:
        source: the checkpoint that was read.
        engine: what wrote it: an engine's name, or `safetensors`.
        path: what was written: the prefix of a checkpoint, or a file.
        step: the global step; None when the source does not tell.
        variables: those that were written.
        left_out: names of those that hold no numbers.
        neutral: whether a script over `mox_core.nn` made them; None: not known.
    """

    source: str
    engine: str
    path: str
    step: int | None
    variables: list[VariableInfo]
    left_out: tuple[str, ...] = ()
    neutral: bool | None = None


@dataclass(frozen=True)
class _Contents:
    """What a checkpoint holds.

    Args:
        source: its prefix, or the file.
        engine: what wrote it.
        values: name -> array.
        step: the global step, or None.
        left_out: names of what holds no numbers, where `values` is without it.
        record: mox's own, or nothing.
    """

    source: str
    engine: str
    values: Mapping[str, Any]
    step: int | None
    left_out: Sequence[str] = ()
    record: Mapping[str, Any] = field(default_factory=dict)


def convert_checkpoint(source: str, target: str, *, to: str) -> Converted:
    """Writes the variables of a checkpoint in the format of another engine.

    The model's variables, the optimizer's state, the global step and the state of hooks go along.
    Nothing is changed in `source`, and nothing that exists is written over.

    Args:
        source: a log_dir, the prefix of a checkpoint, or a safetensors file; here or in a store.
        target: for an engine a log_dir without checkpoints, for `SAFETENSORS` a new file.
        to: name of an engine, or `SAFETENSORS`.

    Raises:
        CheckpointError: there is no checkpoint at `source`, nothing here reads it, or `target` is
            not free or cannot be written.
        EngineError: the engine does not write checkpoints without a program.
        PluginError: the engine of `to`, or that which wrote `source`, is not installed.
    """
    target = target.rstrip("/") or target
    engine = None if to == SAFETENSORS else get_manager().select("engine", to)
    _check_free(target, engine)
    contents = _read(source)
    values, left_out = _numbers(contents.values)
    left_out = [*contents.left_out, *left_out]
    record = contents.record
    state = frozenset(record.get("state", ()))
    variables = [
        VariableInfo(name, tuple(array.shape), str(array.dtype), name in state)
        for name, array in values.items()
    ]
    if not variables:
        raise CheckpointError(f"{contents.source} holds no variables; there is nothing to convert.")
    with tempfile.TemporaryDirectory(prefix="mox-", dir=scratch()) as folder:
        here = os.path.join(folder, os.path.basename(target)) if is_remote(target) else target
        if engine is None:
            write_arrays(here, values)
            path = target
            if here != target:
                copy(here, target)
        else:
            store = CheckpointStore(here, engine=engine.name, keep=0)
            written = store.save(
                contents.step or 0,
                lambda prefix: engine.write_variables(prefix, values),
                variables=variables,
                hooks=record.get("hooks", {}),
                neutral=record.get("neutral"),
            )
            path = os.path.join(target, os.path.basename(written))
            if here != target:
                files = [name for name in os.listdir(here) if name != POINTER]
                copy_parallel(here, target, file_list=files)
                copy(os.path.join(here, POINTER), os.path.join(target, POINTER))
    return Converted(
        contents.source,
        contents.engine,
        path,
        contents.step,
        variables,
        tuple(left_out),
        record.get("neutral"),
    )


def _check_free(target: str, engine: Engine | None) -> None:
    if engine is None:
        if not target.endswith(SUFFIX):
            raise CheckpointError(
                f"{target} is no name for a safetensors file.\n"
                f"  Give one that ends in {SUFFIX}, such as weights{SUFFIX}."
            )
        if exists(target):
            raise CheckpointError(f"{target} exists already.\n  Give the name of a new file.")
        return
    if exists(target) and not is_directory(target):
        raise CheckpointError(f"{target} is a file; the checkpoint needs a folder, a new log_dir.")
    if exists(os.path.join(target, POINTER)):
        found = latest_checkpoint(target)
        raise CheckpointError(
            f"{target} holds a checkpoint already ({os.path.basename(found or POINTER)}).\n"
            "  Give another folder: a log_dir goes on from its newest checkpoint."
        )


def _read(source: str) -> _Contents:
    if source.endswith(SUFFIX) and read_record(source.removesuffix(SUFFIX)) is None:
        values = _fetched(source, read_arrays)
        return _Contents(source, SAFETENSORS, values, _step(values))
    prefix = require_checkpoint(source.removesuffix(SUFFIX))
    return _fetched(prefix, lambda local: _read_checkpoint(prefix, local))


def _fetched(path: str, read: Callable[[str], T]) -> T:
    """Reads a file or a checkpoint that may have to be copied here first."""
    if not is_remote(path):
        return read(path)
    with tempfile.TemporaryDirectory(prefix="mox-", dir=scratch()) as folder:
        return read(copy_checkpoint(path, folder))


def _read_checkpoint(prefix: str, local: str) -> _Contents:
    record = read_record(local) or {}
    left_out: Sequence[str] = ()
    values: Mapping[str, Any] | None
    of_tensorflow = TensorFlowCheckpoint.find(local)
    if of_tensorflow is not None:  # whatever is installed
        writer = str(record.get("engine", "TensorFlow's format"))
        values, left_out = of_tensorflow.arrays(), of_tensorflow.without_numbers()
    else:
        engine = _engine_of(prefix, local, record)
        writer, values = engine.name, engine.read_variables(local)
    if values is None:
        raise CheckpointError(
            f"{prefix} cannot be read: engine {writer!r} finds no checkpoint of its own there."
        )
    step = _step(values)
    if step is None:
        step = record.get("step") if record else step_in_name(prefix)
    return _Contents(prefix, writer, values, step, left_out, record)


def _engine_of(prefix: str, local: str, record: Mapping[str, Any]) -> Engine:
    """The engine that wrote a checkpoint, or one that reads it."""
    if record:
        written_by: Engine = get_manager().select("engine", str(record.get("engine")))
        return written_by
    found = engine_that_reads(local)
    if found is None:
        names = ", ".join(get_manager().names("engine")) or "none"
        raise CheckpointError(
            f"{prefix} is no checkpoint that an installed engine reads (installed: {names}).\n"
            "  Install the one that wrote it, or check the path."
        )
    return found[0]


def _step(values: Mapping[str, Any]) -> int | None:
    return int(values[_GLOBAL_STEP]) if _GLOBAL_STEP in values else None


def _numbers(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Name -> array of what other engines can hold, in order of the names; the others' names."""
    import numpy as np

    numbers, others = {}, []
    for name in sorted(values):
        array = np.asarray(values[name])
        if array.dtype.name == "bfloat16":  # not NumPy's own; no other engine would know it
            array = array.astype(np.float32)
        if array.dtype.kind in "biuf":
            numbers[name] = array
        else:
            others.append(name)
    return numbers, others
