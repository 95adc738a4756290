"""Exporting the model after a run."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

from mox_core.engine import Engine, ProgramRequest
from mox_core.errors import EngineError, ExportError, ExportExistsError, MoxError
from mox_core.running.restoring import restore_all
from mox_core.running.state import RunState
from mox_core.spec import ExportSpec, ModeKeys
from mox_core.storage.api import exists, is_directory, list_directory
from mox_core.storage.urls import is_remote

__all__ = ["check_export", "export_model", "resolve_format"]


def resolve_format(engine: Engine, wanted: str) -> str:
    """The engine's name for the format asked for; `""` for no export.

    Raises:
        EngineError: the engine cannot export to it.
    """
    formats = engine.capabilities.export_formats
    if not wanted:
        return ""
    if wanted == "default" and formats:
        return formats[0]
    if wanted not in formats:
        offered = ", ".join(repr(one) for one in formats) or "none"
        raise EngineError(
            f"engine {engine.name!r} does not export to {wanted!r} (its formats: {offered})."
        )
    return wanted


def check_export(spec: ExportSpec | None, log_dir: str) -> None:
    """Finds out before the run, where the training spec tells, that exporting would fail.

    Args:
        spec: of the ModelSpec.
        log_dir: a local path or a URL.

    Raises:
        ExportExistsError: the folder exists.
    """
    if spec is not None:
        _target(log_dir, spec.version)


def export_model(engine: Engine, run: RunState, request: ProgramRequest, export_format: str) -> str:
    """Builds the model once more in mode EXPORT, loads the newest checkpoint, writes it out.

    The folder appears under its name only when it is complete.

    Returns:
        The folder, below log_dir; a URL where that is one.

    Raises:
        ExportError: the folder exists, there is no checkpoint, or writing failed.
    """
    assert run.log_dir is not None
    log_dir = run.url_of(run.log_dir)
    if run.checkpoint is None:
        raise ExportError(f"nothing to export: no checkpoint in {log_dir}.")
    program = engine.build(
        replace(
            request,
            mode=ModeKeys.EXPORT,
            inter_mode=None,
            optimizer_fns=(),
            input_spec=run.program.input_spec,
        )
    )
    try:
        spec = program.export_spec
        if spec is None:
            raise ExportError("model_fn returned no export_spec in mode EXPORT.")
        target = _target(log_dir, spec.version)
        program.start()
        restore_all(program, run.checkpoint, state=False)
        staging = os.path.join(run.log_dir, f".mox-exporting-{os.getpid()}")
        shutil.rmtree(staging, ignore_errors=True)
        try:
            program.export(export_format, staging)
            if is_remote(target):
                run.staging.publish_export(staging, target)
            else:
                _publish(staging, target)
        except MoxError:
            raise
        except Exception as error:
            raise ExportError(f"could not export to {target}: {error}") from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    finally:
        program.close()
    run.logger.info("Model exported to %s", target)
    return target


def _publish(staging: str, target: str) -> None:
    if os.path.exists(target):
        raise _exists(target)
    os.rename(staging, target)


def _target(log_dir: str, version: int | str) -> str:
    if version == -1:
        taken = [int(n) for n in _entries(log_dir) if n.isdigit()]
        version = max(taken, default=0) + 1
    target = os.path.join(log_dir, str(version))
    if exists(target):
        raise _exists(target)
    return target


def _entries(log_dir: str) -> list[str]:
    return list_directory(log_dir) if is_directory(log_dir) else []


def _exists(target: str) -> ExportExistsError:
    return ExportExistsError(
        "Export directory already exists. Please specify a different export directory: "
        f"{target}\n  Remove it, or give ExportSpec(version=-1) for the next free number."
    )
