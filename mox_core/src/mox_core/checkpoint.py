"""Checkpoints: where to load from, how to save so that a kill at any moment loses nothing.

A checkpoint is a set of files `model.ckpt-<step>*` that the engine wrote, with a record beside them
(`model.ckpt-<step>.mox.json`: sizes, variables, step, state of hooks). The file `checkpoint`
points to the newest, in TensorFlow's own text format, so that its tools read these folders too.

Saving: the engine writes into a staging folder; the files are flushed to disk and renamed into
`log_dir`, the record last; then the pointer is replaced; then old checkpoints are removed.

All that reads takes local paths and URLs of `mox.file` alike; what is saved is saved here, and
`mox_core.running.uploads` carries it to a store.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mox_core.engine import Engine, VariableInfo
from mox_core.errors import CheckpointError, ProcessLostError
from mox_core.storage.api import copy_parallel, is_directory, read, scan_dir
from mox_core.storage.copying import scratch
from mox_core.storage.urls import is_remote
from mox_core.tf_checkpoint import TensorFlowCheckpoint

__all__ = [
    "CheckpointInfo",
    "CheckpointStore",
    "DamagedError",
    "check_intact",
    "copy_checkpoint",
    "describe_checkpoint",
    "latest_checkpoint",
    "read_record",
    "resolve_checkpoint",
]

BASENAME = "model.ckpt"
POINTER = "checkpoint"
RECORD_SUFFIX = ".mox.json"
_STAGING = ".mox-saving-"


class DamagedError(CheckpointError):
    """The files of a checkpoint are damaged; names another one that its folder has.

    Args:
        prefix: path or URL without suffixes.
        what: which file, and what is wrong with it.
    """

    def __init__(self, prefix: str, what: str) -> None:
        self.what = what
        folder = os.path.dirname(prefix)
        others = [one for one in read_pointer(folder) or [] if one != os.path.basename(prefix)]
        super().__init__(
            f"checkpoint {prefix} is damaged: {what}.\n  "
            + (
                "To go on from an older one, give another log_dir and checkpoint_path="
                f"{_located(folder, others[0])!r}."
                if others
                else "No other checkpoint is in this folder."
            )
        )


@dataclass(frozen=True)
class CheckpointInfo:
    """A checkpoint as `mox checkpoint show` prints it.

    Args:
        path: prefix, without suffixes.
        step: the global step, or None when unknown.
        engine: name of the engine that wrote it, or None.
        mox_version: of the mox that wrote it, or None.
        time: when, in seconds since the epoch, or None.
        files: (name, size in bytes).
        variables: None when nothing here can read them.
        hooks: state of hooks, by their key.
    """

    path: str
    step: int | None
    engine: str | None = None
    mox_version: str | None = None
    time: float | None = None
    files: list[tuple[str, int]] = field(default_factory=list)
    variables: list[VariableInfo] | None = None
    hooks: Mapping[str, Any] = field(default_factory=dict)


def latest_checkpoint(directory: str) -> str | None:
    """Returns the prefix of the newest checkpoint in a folder, None when it has none.

    Raises:
        CheckpointError: the folder's pointer names files that are gone.
    """
    pointer = os.path.join(directory, POINTER)
    names = read_pointer(directory)
    if names is None:
        return None
    for name in names:
        prefix = _located(directory, name)
        if files_of(prefix):
            return prefix
    if not names:
        newest = newest_recorded(directory)
        raise CheckpointError(
            f"{pointer} is not a checkpoint pointer (no model_checkpoint_path in it).\n  Remove it"
            + (f", and go on with checkpoint_path={newest!r}." if newest else " to begin afresh.")
        )
    raise CheckpointError(
        f"{pointer} points to {names[0]}, but no such files are there.\n"
        "  Restore them, or remove the file `checkpoint` to begin afresh."
    )


def resolve_checkpoint(path: str) -> str | None:
    """Returns the checkpoint prefix that `path`, a folder or a prefix, stands for; None for none.

    Raises:
        CheckpointError: as `latest_checkpoint` does.
    """
    if is_directory(path):
        return latest_checkpoint(path.rstrip("/") or path)
    folder, name = os.path.split(path)
    entries = _entries(folder or ".")
    stem = name if name in entries else ""
    while "." in stem:  # one of the files of a checkpoint stands for it
        stem = stem.rpartition(".")[0]
        if f"{stem}.index" in entries or stem + RECORD_SUFFIX in entries or name == f"{stem}.meta":
            return os.path.join(folder, stem)
    return path if files_of(path) else None


def newest_recorded(directory: str) -> str | None:
    """The prefix of the last checkpoint of mox's in a folder, whatever its pointer says."""
    names = [name for name in _entries(directory) if name.endswith(RECORD_SUFFIX)]
    prefixes = [os.path.join(directory, name.removesuffix(RECORD_SUFFIX)) for name in names]
    return max(prefixes, key=lambda prefix: step_in_name(prefix) or 0, default=None)


def require_checkpoint(path: str, *, argument: str = "") -> str:
    """As `resolve_checkpoint`.

    Args:
        path: a folder or a prefix.
        argument: how the user gave it, such as `checkpoint_path=`.

    Raises:
        CheckpointError: there is none, too.
    """
    prefix = resolve_checkpoint(path)
    if prefix is None:
        like = newest_recorded(path) or f"log_dir/{BASENAME}-1000"
        raise CheckpointError(
            f"no checkpoint at {argument}{path!r}.\n"
            f"  Give a log_dir with its file `checkpoint`, or a prefix such as {like}."
        )
    return prefix


def read_record(prefix: str) -> dict[str, Any] | None:
    """Returns the record that mox wrote beside a checkpoint; None for other checkpoints.

    Raises:
        CheckpointError: the record is damaged.
    """
    path = prefix + RECORD_SUFFIX
    text = _read_text(path)
    if text is None:
        return None
    try:
        record = json.loads(text)
    except ValueError:
        record = None
    if not isinstance(record, dict) or "files" not in record:
        raise DamagedError(prefix, f"{os.path.basename(path)} cannot be read")
    return record


def check_intact(prefix: str) -> None:
    """Compares the files of a checkpoint with its record.

    Raises:
        CheckpointError: a file is missing or has another size; names a checkpoint to use instead.
    """
    record = read_record(prefix)
    if record is None:
        return
    found = files_of(prefix)
    for name, size in record["files"].items():
        if name not in found:
            raise DamagedError(prefix, f"{name} is missing")
        if found[name] != size:
            raise DamagedError(prefix, f"{name} has {found[name]} bytes, {size} were written")


def copy_checkpoint(prefix: str, folder: str) -> str:
    """Copies the files of a checkpoint, here or in a store, into a folder of this machine.

    Returns:
        The prefix of the copy.

    Raises:
        CheckpointError: the checkpoint is damaged.
    """
    check_intact(prefix)
    source, name = os.path.split(prefix)
    copy_parallel(source, folder, file_list=list(files_of(prefix)))
    return os.path.join(folder, name)


def describe_checkpoint(path: str) -> CheckpointInfo:
    """Describes the checkpoint at `path`, a folder or a prefix.

    Checkpoints that mox wrote describe themselves; for others the installed engines are asked.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    prefix = require_checkpoint(path)
    files = list(files_of(prefix).items())
    record = read_record(prefix)
    if record is None:
        step = step_in_name(prefix)
        return CheckpointInfo(prefix, step, files=files, variables=_look_inside(prefix))
    check_intact(prefix)
    return CheckpointInfo(
        prefix,
        record.get("step"),
        record.get("engine"),
        record.get("mox_version"),
        record.get("time"),
        files,
        [
            VariableInfo(name, tuple(shape), dtype, name in record.get("state", ()))
            for name, shape, dtype in record["variables"]
        ],
        record.get("hooks", {}),
    )


class CheckpointStore:
    """The checkpoints of one `log_dir`.

    Args:
        directory: created when missing.
        engine: name of the engine, for the record.
        keep: how many checkpoints stay; 0: all.

    Raises:
        CheckpointError: the folder cannot be written.
    """

    def __init__(self, directory: str, *, engine: str, keep: int) -> None:
        self.directory = directory
        self._engine = engine
        self._keep = keep
        _require_writable(directory)
        _remove_stale_staging(directory)

    def save(
        self,
        step: int,
        write: Callable[[str], None],
        *,
        variables: list[VariableInfo],
        hooks: Mapping[str, Any],
        neutral: bool | None = None,
    ) -> str:
        """Saves a checkpoint and returns its prefix.

        Args:
            step: the global step.
            write: writes the engine's files at the prefix that it gets.
            variables: for the record.
            hooks: key -> JSON state, for the record.
            neutral: whether a script over `mox_core.nn` made the variables; None: not known.

        Raises:
            CheckpointError: the disk is full, or writing failed otherwise; what was there before
                is intact.
        """
        name = f"{BASENAME}-{step}"
        staging = os.path.join(self.directory, f"{_STAGING}{os.getpid()}")
        try:
            os.makedirs(staging, exist_ok=True)
            write(os.path.join(staging, name))
            record = {
                "mox_version": _version(),
                "engine": self._engine,
                "step": step,
                "time": time.time(),
                "files": {entry.name: entry.stat().st_size for entry in os.scandir(staging)},
                "variables": [[v.name, list(v.shape), v.dtype] for v in variables],
                "state": [v.name for v in variables if v.state],
                "hooks": dict(hooks),
                "neutral": neutral,
            }
            if not record["files"]:
                raise CheckpointError(f"the engine {self._engine!r} wrote no file for {name}.")
            with open(os.path.join(staging, name + RECORD_SUFFIX), "w", encoding="utf-8") as file:
                json.dump(record, file)
            self._publish(staging, name)
        except (CheckpointError, ProcessLostError):
            raise
        except Exception as error:
            raise CheckpointError(
                f"could not save a checkpoint for step {step} into {self.directory}: "
                f"{_reason(error)}\n  {self._what_remains()} Free some space or choose another "
                "log_dir, then run the same command again."
            ) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return os.path.join(self.directory, name)

    def _publish(self, staging: str, name: str) -> None:
        record = name + RECORD_SUFFIX
        files = [entry for entry in sorted(os.listdir(staging)) if entry != record] + [record]
        mode = os.stat(os.path.join(staging, record)).st_mode
        for file in files:
            with contextlib.suppress(OSError):  # safetensors lets nobody else read its files
                os.chmod(os.path.join(staging, file), mode)
            _flush_to_disk(os.path.join(staging, file))
        for file in files:
            os.replace(os.path.join(staging, file), os.path.join(self.directory, file))
        pointer = os.path.join(self.directory, POINTER)
        older = [one for one in reversed(read_pointer(self.directory) or []) if one != name]
        there = [one for one in [*older, name] if files_of(os.path.join(self.directory, one))]
        dropped, kept = split_by_age(there, self._keep)
        temporary = os.path.join(staging, POINTER)
        with open(temporary, "w", encoding="utf-8") as text:
            text.write(pointer_text(kept))
        _flush_to_disk(temporary)
        os.replace(temporary, pointer)
        _flush_to_disk(self.directory)
        for one in dropped:
            for file in files_of(os.path.join(self.directory, one)):
                os.remove(os.path.join(self.directory, file))

    def _what_remains(self) -> str:
        try:
            latest = latest_checkpoint(self.directory)
        except CheckpointError:
            latest = None
        return f"The last checkpoint, {latest}, is intact." if latest else "None was saved before."


def files_of(prefix: str) -> dict[str, int]:
    """Name -> bytes of all files of a checkpoint: `prefix` itself and `prefix.<suffix>`, sorted."""
    folder, name = os.path.split(prefix)
    entries = _entries(folder or ".")
    return {
        entry: entries[entry]
        for entry in sorted(entries)
        if entry == name or entry.startswith(name + ".")
    }


def step_in_name(prefix: str) -> int | None:
    """The step that the name of a checkpoint ends in, or None."""
    number = re.search(r"-(\d+)$", prefix)
    return int(number.group(1)) if number else None


def read_pointer(directory: str) -> list[str] | None:
    """Names of checkpoints in a folder's pointer, the newest first; None without a pointer."""
    text = _read_text(os.path.join(directory, POINTER))
    if text is None:
        return None
    entries = re.findall(r'^\s*(all_)?model_checkpoint_paths?:\s*"((?:[^"\\]|\\.)*)"', text, re.M)
    names = [(bool(every), _unescape(name)) for every, name in entries]
    newest = [name for every, name in names if not every]
    older = [name for every, name in reversed(names) if every and name not in newest]
    return newest + older


def pointer_text(kept: list[str]) -> str:
    """The text of a pointer to checkpoints of its own folder, the newest last."""
    lines = [f"model_checkpoint_path: {json.dumps(kept[-1])}"]
    lines += [f"all_model_checkpoint_paths: {json.dumps(name)}" for name in kept]
    return "\n".join(lines) + "\n"


def split_by_age(names: list[str], keep: int) -> tuple[list[str], list[str]]:
    """The names, oldest first, that retention drops, and those that it keeps; `keep` 0: all."""
    dropped = names[:-keep] if keep else []
    return dropped, names[len(dropped) :]


def _located(directory: str, name: str) -> str:
    """The prefix that a name in a pointer stands for; a URL there may be of before a move."""
    return os.path.join(directory, name.rpartition("/")[2] if is_remote(name) else name)


def _entries(folder: str) -> dict[str, int]:
    """Name -> bytes of the files in a folder, here or in a store; empty when there is none."""
    try:
        with scan_dir(folder) if is_remote(folder) else os.scandir(folder) as entries:
            return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
    except (FileNotFoundError, NotADirectoryError):
        return {}


def _read_text(path: str) -> str | None:
    """The content of a file, here or in a store; None when there is no such file."""
    try:
        return str(read(path, binary=True), "utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _flush_to_disk(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _require_writable(directory: str) -> None:
    probe = os.path.join(directory, f"{_STAGING}{os.getpid()}")
    try:
        os.makedirs(probe, exist_ok=True)
        os.rmdir(probe)
    except OSError as error:
        raise CheckpointError(
            f"log_dir {directory!r} cannot be written: {_reason(error)}\n"
            "  Choose another folder with mox.run(log_dir=...)."
        ) from error


def _remove_stale_staging(directory: str) -> None:
    """Removes what processes that were killed while saving have left."""
    for entry in _staging_folders(directory):
        process = entry.rpartition("-")[2]
        if process.isdigit() and int(process) != os.getpid() and not _is_alive(int(process)):
            shutil.rmtree(os.path.join(directory, entry), ignore_errors=True)


def _staging_folders(directory: str) -> Iterator[str]:
    return (entry for entry in os.listdir(directory) if entry.startswith(_STAGING))


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _look_inside(prefix: str) -> list[VariableInfo] | None:
    if not is_remote(prefix):
        return _ask_engines(prefix)
    with tempfile.TemporaryDirectory(prefix="mox-", dir=scratch()) as folder:
        return _ask_engines(copy_checkpoint(prefix, folder))


def _ask_engines(prefix: str) -> list[VariableInfo] | None:
    of_tensorflow = TensorFlowCheckpoint.find(prefix)
    if of_tensorflow is not None:
        return of_tensorflow.infos()
    found = engine_that_reads(prefix)
    return None if found is None else found[1]


def engine_that_reads(prefix: str) -> tuple[Engine, list[VariableInfo]] | None:
    """Asks the installed engines for one that reads a checkpoint without a record.

    Returns:
        The engine, and the variables; None when there is none.

    Raises:
        CheckpointError: the files are damaged.
    """
    from mox_core.plugins import get_manager

    manager = get_manager()
    for info in manager.infos():
        if info.kind != "engine" or info.state != "ok":
            continue
        try:
            engine = manager.select("engine", info.name)
            variables = engine.read_checkpoint(prefix)
        except CheckpointError:
            raise
        except Exception:  # an engine whose framework is absent cannot tell
            continue
        if variables is not None:
            return engine, list(variables)
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror + "."
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return first if first.endswith(".") else first + "."


def _version() -> str:
    from mox_core import __version__

    return __version__
