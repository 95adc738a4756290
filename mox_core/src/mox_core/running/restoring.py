"""Where a run's variables come from: log_dir, then checkpoint_path, then fresh."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence

from mox_core.checkpoint import (
    check_intact,
    engine_that_reads,
    newest_recorded,
    read_record,
    require_checkpoint,
    step_in_name,
)
from mox_core.engine import Program, RestoreReport
from mox_core.errors import CheckpointError, EngineError, SpecError
from mox_core.hooks.base import RunHook
from mox_core.hooks.saving import restore_state
from mox_core.running.state import RunState
from mox_core.storage.copying import scratch
from mox_core.tf_checkpoint import TensorFlowCheckpoint
from mox_core.wording import counted

__all__ = ["load_variables", "restore_all"]

_POWER = re.compile(r"(^|/)beta[12]_power(_\w+)?$")


def load_variables(run: RunState, hooks: Sequence[RunHook]) -> None:
    """Initializes the program's variables, from a checkpoint where there is one.

    A checkpoint in log_dir wins over checkpoint_path (manual 001, section 1.2.2). Only what comes
    from checkpoint_path goes through the include and exclude patterns.

    Raises:
        CheckpointError: nothing to load outside TRAIN, or it is damaged or does not fit.
    """
    plan, program = run.plan, run.program
    if program.joined:
        run.logger.info("Joining the training at global step %d.", program.global_step)
        _set_steps(run)
        return
    log_dir = run.url_of(plan.log_dir) if plan.log_dir else None
    found = run.staging.latest_checkpoint(plan.log_dir) if plan.log_dir else None
    if found:
        if plan.checkpoint_path:
            run.logger.info(
                "Ignoring --checkpoint_path because a checkpoint already exists in %s", log_dir
            )
        run.logger.info("Restoring parameters from %s", run.url_of(found))
        with run.staging.naming(found):
            _check_engine(run, found, "log_dir")
            surplus = restore_all(program, found, state=plan.training)
        _tell_surplus(run, found, surplus)
        if plan.training:
            restore_state(hooks, (read_record(found) or {}).get("hooks", {}))
    elif plan.checkpoint_path:
        chosen = require_checkpoint(plan.checkpoint_path, argument="checkpoint_path=")
        run.logger.info("Restoring parameters from %s", chosen)
        found = run.staging.local_copy(chosen)
        with run.staging.naming(found):
            check_intact(found)
            with _as_own(run, found) as own:
                _restore_chosen(run, found, own)
    elif not plan.training:
        where = f"log_dir={log_dir!r} has none" if log_dir else "log_dir is not given"
        raise CheckpointError(
            f"mode {plan.mode!s} needs a checkpoint: {where}, and checkpoint_path is not given.\n"
            "  Train first, or pass mox.run(checkpoint_path=...)."
        )
    elif log_dir and (lost := newest_recorded(log_dir)) and step_in_name(lost):
        run.logger.warning(
            "%s has no file `checkpoint`, so that training begins afresh, beside what is there.\n"
            "  To go on from its newest checkpoint, pass checkpoint_path=%r.",
            log_dir,
            lost,
        )
    run.checkpoint = found
    _set_steps(run)


def _set_steps(run: RunState) -> None:
    run.global_step = run.program.global_step
    if run.plan.training:
        run.step = run.program.first_step


def restore_all(program: Program, prefix: str, *, state: bool) -> Sequence[str]:
    """Restores every variable of a program.

    Returns:
        What else is in the checkpoint.

    Raises:
        CheckpointError: the checkpoint is damaged or lacks a variable.
    """
    check_intact(prefix)
    report = program.restore(prefix, lambda name: True, state=state)
    _check(program, report, prefix)
    return report.surplus


def _is_own(run: RunState, prefix: str) -> bool:
    """Whether this run's engine reads a checkpoint."""
    record = read_record(prefix)
    written = record is not None and record.get("engine") == run.engine.name
    return written or run.engine.read_checkpoint(prefix) is not None


def _check_engine(run: RunState, prefix: str, argument: str) -> None:
    """Tells a checkpoint of another engine from a damaged one.

    Raises:
        CheckpointError: it is of another engine; says how to convert it.
    """
    if _is_own(run, prefix):
        return
    record, engine = read_record(prefix), run.engine
    writer = None
    if record is not None:
        writer = f"of engine {record.get('engine')!r}"
    elif TensorFlowCheckpoint.find(prefix):
        writer = "in TensorFlow's format"
    elif found := engine_that_reads(prefix):
        writer = f"of engine {found[0].name!r}"
    if writer is not None:
        raise CheckpointError(
            f"checkpoint {prefix} is {writer}, and this run uses {engine.name!r}.\n"
            f"  Convert it with `mox checkpoint convert {prefix} FOLDER --to {engine.name}`, and "
            f"give {argument}=FOLDER."
        )


@contextlib.contextmanager
def _as_own(run: RunState, prefix: str) -> Iterator[str]:
    """A checkpoint as files of this run's engine: itself, or what is made of TensorFlow's files.

    Raises:
        CheckpointError: it is of another engine; says how to convert it.
    """
    of_tensorflow = None if _is_own(run, prefix) else TensorFlowCheckpoint.find(prefix)
    if of_tensorflow is None:
        _check_engine(run, prefix, "checkpoint_path")
        yield prefix
        return
    with tempfile.TemporaryDirectory(prefix="mox-", dir=scratch()) as folder:
        own = os.path.join(folder, os.path.basename(prefix))
        try:
            run.engine.write_variables(own, of_tensorflow.arrays())
        except EngineError as error:
            raise CheckpointError(
                f"checkpoint {prefix} is in TensorFlow's format: {error}\n"
                "  Use an engine that reads it."
            ) from error
        yield own


def _restore_chosen(run: RunState, prefix: str, own: str) -> None:
    plan = run.plan
    include = _matcher(plan.include_patterns, "checkpoint_include_patterns")
    exclude = _matcher(plan.exclude_patterns, "checkpoint_exclude_patterns")
    report = run.program.restore(
        own,
        lambda name: (not plan.include_patterns or include(name)) and not exclude(name),
        state=plan.training,
    )
    _check(run.program, report, prefix)
    if plan.include_patterns or plan.exclude_patterns:
        run.logger.info(
            "Restored %s by the patterns given.", counted(len(report.restored), "variable")
        )
    else:
        _tell_surplus(run, prefix, report.surplus, level=logging.INFO)
    if report.missing_state:
        run.logger.info(
            "%s lacks %s of the optimizer; what is not there starts afresh.",
            run.url_of(prefix),
            counted(len(report.missing_state), "variable"),
        )


def _tell_surplus(
    run: RunState, prefix: str, surplus: Sequence[str], *, level: int | None = None
) -> None:
    """Says what else a checkpoint holds.

    In TRAIN the next checkpoint of log_dir will be without it: a warning. Elsewhere nothing comes
    of it, and what an optimizer needs is not missed.
    """
    training = run.plan.training
    if not training:
        surplus = _without_state(run.program, prefix, surplus)
    if surplus:
        run.logger.log(
            level or (logging.WARNING if training else logging.INFO),
            "%s holds %s that the model%s has not: %s.",
            run.url_of(prefix),
            counted(len(surplus), "variable"),
            " or its optimizer" if training else "",
            _listed(surplus),
        )


def _without_state(program: Program, prefix: str, names: Sequence[str]) -> Sequence[str]:
    """Those of a checkpoint's names that are no optimizer's.

    A record tells. Without one, what is called as a variable is with more behind it belongs to it,
    and what TensorFlow's Adam calls its own.
    """
    state = frozenset((read_record(prefix) or {}).get("state", ()))
    below = tuple(f"{info.name}/" for info in program.variable_infos())
    return [
        name
        for name in names
        if name not in state and not name.startswith(below) and not _POWER.search(name)
    ]


def _check(program: Program, report: RestoreReport, prefix: str) -> None:
    if report.mismatched:
        parts = [
            f"{name} is {tuple(there)} there and {tuple(here)} in the model"
            for name, (there, here) in list(report.mismatched.items())[:10]
        ]
        raise CheckpointError(
            f"checkpoint {prefix} does not fit: {_listed(parts, len(report.mismatched))}.\n"
            "  Leave such variables out with --checkpoint_exclude_patterns (for checkpoint_path)."
        )
    if report.missing:
        others = ""
        surplus = _without_state(program, prefix, report.surplus)
        if surplus:
            others = f"It has {counted(len(surplus), 'other')}: {_listed(surplus)}.\n  "
        raise CheckpointError(
            f"checkpoint {prefix} lacks {counted(len(report.missing), 'variable')} of the model: "
            f"{_listed(report.missing)}.\n  {others}"
            "Leave them out with --checkpoint_exclude_patterns (for checkpoint_path), or use "
            "another log_dir."
        )


def _listed(parts: Sequence[str], total: int | None = None) -> str:
    """Up to ten of the parts; `total` of them, where fewer are given."""
    shown, total = parts[:10], len(parts) if total is None else total
    more = f" and {total - len(shown)} more" if total > len(shown) else ""
    return ", ".join(shown) + more


def _matcher(patterns: Sequence[str], flag: str) -> Callable[[str], bool]:
    try:
        compiled = [re.compile(pattern) for pattern in patterns]
    except re.error as error:
        raise SpecError(
            f"--{flag}: {error.pattern!r} is not a regular expression: {error}."
        ) from error
    return lambda name: any(one.search(name) for one in compiled)
