"""mox.run: resolve the engine, plan, build, load, loop, export."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mox_core.checkpoint import CheckpointStore
from mox_core.data.shards import Shard, all_reading_as
from mox_core.engine import Cluster, Engine, EngineConfig, ProgramRequest
from mox_core.errors import EngineError, MoxError, ProcessLostError
from mox_core.flags import get_flag
from mox_core.hooks.base import RunHook
from mox_core.hooks.eval_means import EvalMeansHook
from mox_core.hooks.log_line import LogHook
from mox_core.hooks.metrics import MetricsHook
from mox_core.hooks.output import OutputHook
from mox_core.hooks.plugins import PluginHook
from mox_core.hooks.progress import ProgressHook, wants_progress
from mox_core.hooks.saving import SaveHook
from mox_core.hooks.summary import SummaryHook
from mox_core.hooks.uploading import UploadHook
from mox_core.log import run_logger
from mox_core.plugins import get_manager
from mox_core.running.capabilities import check_capabilities, warn_of_ignored_flags
from mox_core.running.exporting import check_export, export_model, resolve_format
from mox_core.running.interrupts import InterruptGuard
from mox_core.running.loop import run_loop
from mox_core.running.plan import UNSET, RunPlan, make_plan
from mox_core.running.restoring import load_variables
from mox_core.running.select_engine import select_engine
from mox_core.running.staging import Staging, staged
from mox_core.running.state import RunResult, RunState
from mox_core.spec import ModeKeys

__all__ = ["run"]

_MOST_LOSSES_IN_A_ROW = 3


def run(
    input_fn: Callable[..., Any] | Mapping[str, Callable[..., Any]] | None = None,
    output_fn: Callable[..., Any] | None = None,
    model_fn: Callable[..., Any] | Mapping[str, Callable[..., Any]] | None = None,
    optimizer_fn: Any = None,
    run_mode: str = "invalid",
    inter_mode: str | None = None,
    batch_size: int | None = None,
    auto_batch: bool = True,
    log_dir: str | os.PathLike[str] | None = None,
    max_number_of_steps: int = 0,
    checkpoint_path: str | os.PathLike[str] | None = None,
    log_every_n_steps: int = 10,
    output_every_n_steps: int = 0,
    save_summary_steps: int = 100,
    save_model_secs: float | None = UNSET,
    export_model: str | bool | None = False,
    fetch_strategy_fn: Any = None,
    save_model_steps: int | None = UNSET,
    *,
    engine: str | Engine | None = None,
    hooks: Sequence[RunHook] = (),
) -> RunResult:
    """Trains, evaluates or predicts, and exports (manual 004, section 4; 001, section 1.3.5.1).

    The functions are called by position. Variables come from the checkpoint in `log_dir`, else
    from `checkpoint_path`, else (TRAIN only) are initialized. The end of the data ends the run.
    Ctrl-C and SIGTERM finish the step, save, and exit with code 130 or 143.

    The functions are neutral (NumPy arrays in, a model built with `mox.nn`, an optimizer of
    `mox.get_optimizer_fn`) and run on every engine; `docs/nn.md` describes them. They are native,
    in one engine's own tensors, when `model_fn` is a dict of functions by the engine's name, or
    when `engine` is an object, as it is in the `run` of an engine's package such as mox_tf.

    Args:
        input_fn: `input_fn(mode)` returns the inputs of the model; or a dict as for `model_fn`.
        output_fn: `output_fn(outputs)` gets a list of dicts, name -> array (`output_info`), ordered
            by step, then by tower.
        model_fn: `model_fn(inputs, mode)` returns a `ModelSpec`; called once per tower. `inputs` is
            a list, or the dict that input_fn returned.
        optimizer_fn: TRAIN only: returns an optimizer; or a list of such functions, one per loss;
            or a dict as for `model_fn`.
        run_mode: one of `ModeKeys.TRAIN`, `EVAL`, `PREDICT`.
        inter_mode: mode of the evaluations in the middle of training, for the hooks that make them.
        batch_size: samples per step and tower; None: the inputs are batches already.
        auto_batch: batch single samples; without `batch_size` nothing is batched.
        log_dir: folder for checkpoints, summaries, metrics.jsonl and exported models, here or in a
            store (`s3://bucket/folder`); None: nothing is saved.
        max_number_of_steps: the run ends when it has done this many, those before a restart
            included; 0: when the data end. The environment variable MOX_MAX_STEPS caps it.
        checkpoint_path: folder or prefix of a checkpoint to begin from, here or in a store.
        log_every_n_steps: steps between log lines; 0: none.
        output_every_n_steps: steps per call of output_fn; 0: one call at the end.
        save_summary_steps: TRAIN only: steps between summaries; 0: none.
        save_model_secs: TRAIN only: seconds between checkpoints (default 600); wins over steps.
            Besides, one is saved at the start and one at the end.
        export_model: one of `ExportKeys`, another format of the engine, or True for its first.
        fetch_strategy_fn: accepted and ignored; the original does not document it.
        save_model_steps: TRAIN only: steps between checkpoints.
        engine: the engine's name; None: see `--engine`. Or an `Engine`: then the functions are
            native, written for that engine.
        hooks: run hooks besides those of the ModelSpec.

    Returns:
        What came of it: steps, metrics, newest checkpoint, export folder.

    Raises:
        MoxError: with a message of a line or two that says what is wrong and what to do. Its
            subclasses are also a ValueError, RuntimeError or AssertionError.
        SystemExit: code 130 or 143 after an interrupt.
    """
    arguments = {name: value for name, value in locals().items() if name != "engine"}
    try:
        manager = get_manager()
        manager.configure(enabled=False if get_flag("no_plugins") else None)
        manager.load_observers()
        plan = make_plan(arguments, get_flag)
        chosen = select_engine(engine, get_flag)
        level = "WARNING" if get_flag("silent") else get_flag("running_log_level")
        logger = run_logger(chosen.log_name, level)
        plan = plan.for_engine(chosen.name, native=_is_native(engine, chosen))
        manager.notify("mox_configure", config=plan)
        if fetch_strategy_fn is not None:
            logger.warning("fetch_strategy_fn is ignored: mox fetches only what is looked at.")
        with InterruptGuard() as guard:
            try:
                result = _run(chosen, plan, guard, logger)
            except KeyboardInterrupt:
                if guard.received is None:
                    raise
                raise SystemExit(guard.exit_code) from None  # nothing was begun that could be saved
            finally:
                chosen.close()
    except MoxError as error:
        if os.environ.get("MOX_DEBUG"):
            raise
        # The message says it all; frames from inside mox would bury the user's own line.
        raise error.with_traceback(None) from None
    if guard.received is not None:
        raise SystemExit(guard.exit_code)
    return result


def _is_native(argument: str | Engine | None, chosen: Engine) -> bool:
    """Whether plain functions are written for the chosen engine.

    An engine's package hands its engine as an object: its scripts are. An engine without neutral
    layers gets the functions as they are, unless the script has used `mox.nn`.
    """
    uses_neutral_layers = "mox_core.nn" in sys.modules
    return isinstance(argument, Engine) or not (chosen.capabilities.neutral or uses_neutral_layers)


def _run(engine: Engine, plan: RunPlan, guard: InterruptGuard, logger: logging.Logger) -> RunResult:
    check_capabilities(engine, plan)
    warn_of_ignored_flags(engine, logger)
    export_format = resolve_format(engine, plan.export_format)
    cluster = engine.setup(
        EngineConfig(plan.towers, get_flag, mode=plan.mode, interrupted=guard.requested)
    )
    if not cluster.takes_part:
        return RunResult(str(plan.mode), 0, 0, {}, {}, "this process has no steps to run")
    with staged(plan, cluster, logger, guard.requested) as (plan, staging):
        return _run_here(engine, plan, cluster, staging, export_format, guard, logger)


def _run_here(
    engine: Engine,
    plan: RunPlan,
    cluster: Cluster,
    staging: Staging,
    export_format: str,
    guard: InterruptGuard,
    logger: logging.Logger,
) -> RunResult:
    """Runs what the plan says, with local folders only."""
    store = None
    if plan.training and plan.log_dir and cluster.is_chief:
        store = CheckpointStore(plan.log_dir, engine=engine.name, keep=plan.keep_checkpoints)
    request = ProgramRequest(
        mode=plan.mode,
        input_fn=_input_fn_of(cluster, plan.input_fn),
        model_fn=plan.model_fn,
        optimizer_fns=plan.optimizer_fns,
        inter_mode=plan.inter_mode if plan.training else None,
        batch_size=plan.batch_size,
        auto_batch=plan.auto_batch,
        stop_on_nan=plan.stop_on_nan and plan.training,
        neutral=plan.neutral,
    )
    program = engine.build(request)
    try:
        if export_format and plan.log_dir and cluster.is_chief:
            check_export(program.export_spec, staging.url_of(plan.log_dir))
        run = RunState(plan, engine, program, cluster, logger, guard.requested, staging)
        hooks = _hooks(run, store)
        program.start()
        _despite_losses(run, hooks, lambda: load_variables(run, hooks))
        _set_end(run)
        _run_with_hooks(run, hooks)
        export_dir = None
        if export_format and cluster.is_chief and guard.received is None:
            export_dir = export_model(engine, run, request, export_format)
            get_manager().notify("mox_export_saved", run=run, path=export_dir)
    finally:
        program.close()
    return RunResult(
        mode=str(plan.mode),
        global_step=run.global_step,
        steps=run.step - run.start_step,
        metrics=run.metrics,
        eval_metrics=run.eval_metrics,
        stop_reason=run.stop_reason or "",
        checkpoint=run.url_of(run.checkpoint) if run.checkpoint else None,
        export_dir=export_dir,
    )


def _input_fn_of(cluster: Cluster, input_fn: Callable[..., Any] | None) -> Any:
    """The input_fn, in which data sets read this process's part of the training data.

    Evaluation data are read whole: metrics are those of one process.
    """
    if input_fn is None or cluster.world_size == 1:
        return input_fn

    @functools.wraps(input_fn)
    def with_its_part(mode: str, *args: Any, **kwargs: Any) -> Any:
        training = ModeKeys.parse(mode) == ModeKeys.TRAIN
        shard = Shard(cluster.rank, cluster.world_size) if training else Shard()
        return all_reading_as(shard, input_fn)(mode, *args, **kwargs)

    return with_its_part


def _run_with_hooks(run: RunState, hooks: Sequence[RunHook]) -> None:
    def on_eval(metrics: Any) -> None:
        for hook in hooks:
            hook.on_eval_end(run, metrics)

    def on_saved(path: str) -> None:
        for hook in hooks:
            hook.on_checkpoint_saved(run, path)

    run.on_eval, run.on_saved = on_eval, on_saved
    starting: list[Callable[[RunState], None]] = [hook.on_start for hook in hooks]
    ending: list[Callable[[RunState], None]] = [hook.on_end for hook in hooks]

    def go_on() -> None:
        run_loop(run, hooks)
        _each(ending, run)

    try:
        _despite_losses(run, hooks, lambda: _each(starting, run))
        _despite_losses(run, hooks, go_on)
    except BaseException as error:
        for hook in hooks:
            try:
                hook.on_error(run, error)
            except Exception as another:  # the first one is what the user has to see
                run.logger.warning("%s.on_error failed: %s", type(hook).__name__, another)
        raise
    if run.step == run.start_step and run.stop_reason == "the data ended":
        run.logger.warning("No step was run: input_fn(%s) gave no data.", run.mode)
    elif run.stop_reason and run.stop_reason.startswith("early stopping"):
        run.logger.info("Stopped at step %d: %s.", run.last_step, run.stop_reason)


def _each(calls: list[Callable[[RunState], None]], run: RunState) -> None:
    """Makes the calls; those that succeed are taken off the list."""
    while calls:
        calls[0](run)
        del calls[0]


def _despite_losses(run: RunState, hooks: Sequence[RunHook], action: Callable[[], None]) -> None:
    """Does something, again from the newest checkpoint when a process is lost meanwhile."""
    while True:
        try:
            return action()
        except ProcessLostError as lost:
            _go_back(run, hooks, lost)


def _go_back(run: RunState, hooks: Sequence[RunHook], lost: ProcessLostError) -> None:
    """Waits for the lost process to come back; continues from the newest checkpoint.

    Raises:
        EngineError: it does not come back, or there is no checkpoint.
    """
    done = run.global_step
    run.losses_in_a_row = run.losses_in_a_row + 1 if done == run.gone_back_to else 1
    if run.losses_in_a_row > _MOST_LOSSES_IN_A_ROW:
        raise lost
    run.logger.warning("%s Waiting for it to come back.", lost)
    run.program.rejoin()
    load_variables(run, hooks)
    if done and not run.program.joined and run.checkpoint is None:
        raise EngineError(
            f"{lost} It has come back empty, and there is no checkpoint to go on from.\n"
            "  With mox.run(log_dir=...) there is."
        ) from lost
    run.gone_back_to = run.global_step
    for hook in hooks:
        hook.on_restored(run)


def _set_end(run: RunState) -> None:
    """Finds where the run ends: EVAL and PREDICT count their own steps, TRAIN goes on."""
    run.start_step = run.step
    run.end_step = run.plan.max_steps
    if run.end_step is None:
        run.logger.info("Running will end when the data end.")
    elif run.step >= run.end_step:
        run.logger.info(
            "Nothing to do: checkpoint %s is at step %d already, max_number_of_steps is %d.",
            run.url_of(run.checkpoint) if run.checkpoint else None,
            run.step,
            run.end_step,
        )
    else:
        run.logger.info("Running will end at step: %d", run.end_step)


def _hooks(run: RunState, store: CheckpointStore | None) -> list[RunHook]:
    """All hooks of a run, in the order in which they see a step.

    Evaluations come before the user's hooks, which may look at their results; saving comes after
    all that has a state to save.
    """
    plan = run.plan
    log = LogHook(plan.log_every_n_steps)
    hooks: list[RunHook] = [log] if plan.log_every_n_steps and run.cluster.logs else []
    if plan.mode == ModeKeys.EVAL:
        hooks.append(EvalMeansHook())
    if plan.output_fn is not None:
        hooks.append(OutputHook(plan.output_fn, plan.output_every_n_steps))
    if plan.log_dir and run.cluster.is_chief:
        if plan.log_every_n_steps:
            hooks.append(MetricsHook(log))
        if plan.training and plan.save_summary_steps:
            hooks.append(SummaryHook(plan.save_summary_steps))
    hooks += _spec_hooks(run)
    hooks += plan.hooks
    hooks.append(PluginHook())
    if store is not None:
        hooks.append(
            SaveHook(
                store,
                lambda: hooks,
                every_secs=plan.save_secs,
                every_steps=plan.save_steps,
            )
        )
    if run.staging.uploader and plan.training:
        hooks.append(UploadHook(run.staging.uploader))
    if wants_progress(plan.progress):
        hooks.append(ProgressHook(plan.log_every_n_steps or 10))
    return hooks


def _spec_hooks(run: RunState) -> list[RunHook]:
    """The hooks of the ModelSpec; those that evaluate come from its inter-mode twin."""
    program = run.program
    if not run.cluster.is_chief:
        return [hook for hook in program.hooks if not hook.inter_mode]
    own = [hook for hook in program.hooks if not hook.inter_mode]
    evaluating = [hook for hook in program.inter_hooks if hook.inter_mode]
    inactive = [hook for hook in program.hooks if hook.inter_mode]
    if inactive and not evaluating and run.plan.training:
        run.logger.warning(
            "%s does nothing in this run: pass mox.run(inter_mode=mox.ModeKeys.EVAL) to use it.",
            type(inactive[0]).__name__,
        )
    return evaluating + own
