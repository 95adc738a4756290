"""Where a run's variables come from: log_dir, then checkpoint_path, then fresh."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from mox_core.checkpoint import check_intact, read_record, resolve_checkpoint
from mox_core.engine import Program, RestoreReport
from mox_core.errors import CheckpointError, SpecError
from mox_core.hooks.base import RunHook
from mox_core.hooks.saving import restore_state
from mox_core.running.state import RunState

__all__ = ["load_variables", "restore_all"]


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
            restore_all(program, found, state=plan.training)
        _warn_of_unused(run, found)
        if plan.training:
            restore_state(hooks, (read_record(found) or {}).get("hooks", {}))
    elif plan.checkpoint_path:
        chosen = _require(plan.checkpoint_path)
        run.logger.info("Restoring parameters from %s", chosen)
        found = run.staging.local_copy(chosen)
        with run.staging.naming(found):
            _restore_chosen(run, found)
        _warn_of_unused(run, found)
    elif not plan.training:
        where = f"log_dir={log_dir!r} has none" if log_dir else "log_dir is not given"
        raise CheckpointError(
            f"mode {plan.mode!s} needs a checkpoint: {where}, and checkpoint_path is not given.\n"
            "  Train first, or pass mox.run(checkpoint_path=...)."
        )
    run.checkpoint = found
    _set_steps(run)


def _set_steps(run: RunState) -> None:
    run.global_step = run.program.global_step
    if run.plan.training:
        run.step = run.program.first_step


def restore_all(program: Program, prefix: str, *, state: bool) -> None:
    """Restores every variable of a program.

    Raises:
        CheckpointError: the checkpoint is damaged or lacks a variable.
    """
    check_intact(prefix)
    _check(program.restore(prefix, lambda name: True, state=state), prefix)


def _require(path: str) -> str:
    found = resolve_checkpoint(path)
    if found is None:
        raise CheckpointError(
            f"no checkpoint at checkpoint_path={path!r}.\n"
            "  Give a folder with a `checkpoint` file, or a prefix without suffixes."
        )
    return found


def _restore_chosen(run: RunState, prefix: str) -> None:
    plan = run.plan
    include = _matcher(plan.include_patterns, "checkpoint_include_patterns")
    exclude = _matcher(plan.exclude_patterns, "checkpoint_exclude_patterns")
    check_intact(prefix)
    report = run.program.restore(
        prefix,
        lambda name: (not plan.include_patterns or include(name)) and not exclude(name),
        state=plan.training,
    )
    _check(report, prefix)
    if plan.include_patterns or plan.exclude_patterns:
        run.logger.info("Restored %d variables by the patterns given.", len(report.restored))
    if report.missing_state:
        run.logger.info(
            "%d variables of the optimizer are not in %s and start afresh.",
            len(report.missing_state),
            run.url_of(prefix),
        )


def _warn_of_unused(run: RunState, prefix: str) -> None:
    """Names what a checkpoint has and the model has not; state of optimizers does not count."""
    record = read_record(prefix) or {}
    saved = {name: shape for name, shape, _ in record.get("variables", [])}
    own = {info.name for info in run.program.variable_infos()}
    unused = [
        name
        for name, shape in saved.items()
        # An optimizer keeps `variable/slot`, and single numbers.
        if name not in own and shape and name.rpartition("/")[0] not in saved
    ]
    if unused:
        run.logger.warning(
            "%s has %d variables that the model has not: %s. They are not read.",
            run.url_of(prefix),
            len(unused),
            _listed(unused[:10], len(unused)),
        )


def _check(report: RestoreReport, prefix: str) -> None:
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
        raise CheckpointError(
            f"checkpoint {prefix} lacks {len(report.missing)} variables of the model: "
            f"{_listed(list(report.missing[:10]), len(report.missing))}.\n"
            "  Leave them out with --checkpoint_exclude_patterns (for checkpoint_path), or use "
            "another log_dir."
        )


def _listed(parts: list[str], total: int) -> str:
    more = f" and {total - len(parts)} more" if total > len(parts) else ""
    return ", ".join(parts) + more


def _matcher(patterns: Sequence[str], flag: str) -> Callable[[str], bool]:
    try:
        compiled = [re.compile(pattern) for pattern in patterns]
    except re.error as error:
        raise SpecError(
            f"--{flag}: {error.pattern!r} is not a regular expression: {error}."
        ) from error
    return lambda name: any(one.search(name) for one in compiled)
