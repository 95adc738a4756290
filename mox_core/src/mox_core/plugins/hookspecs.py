"""The hooks that a plugin may implement, in the order of a run's life.

A plugin implements a hook by decorating a function of the same name with `hookimpl`. It may take
fewer arguments than the specification names, never others. Hooks are called last registered
first; `@hookimpl(tryfirst=True)` and `trylast=True` change that. Wrappers are refused: observers
never steer a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from mox_core.cli.commands import Commands
    from mox_core.engine import StepResults
    from mox_core.flags import FlagRegistry
    from mox_core.launching import LaunchProcess, LaunchRequest
    from mox_core.running.plan import RunPlan
    from mox_core.running.state import RunState

__all__ = ["hookimpl"]

hookspec = pluggy.HookspecMarker("mox")
hookimpl = pluggy.HookimplMarker("mox")
"""Marks a function as the implementation of the hook of the same name."""


# ---- Select: only the plugin of the asked name is loaded and called ------------------------------


@hookspec(firstresult=True)
def mox_engine(name: str) -> object | None:
    """Makes the engine of a name. Entry-point group `mox.engines`.

    Args:
        name: The entry-point name that was asked for, such as "tf".

    Returns:
        An object that fulfils `mox_core.engine.Engine`.
        Stops at the first result that is not None.
    """


@hookspec(firstresult=True)
def mox_storage(scheme: str) -> object | None:
    """Says what makes the storage driver of a URL scheme. Entry-point group `mox.storage`.

    Args:
        scheme: The scheme that was asked for, without "://", such as "s3".

    Returns:
        A `mox_core.storage.driver.DriverFactory`, such as a subclass of `Driver`: it is called as
        `factory(scheme, settings)`.
        Stops at the first result that is not None.
    """


@hookspec(firstresult=True)
def mox_dataset(name: str) -> object | None:
    """Makes the data set of a name. Entry-point group `mox.datasets`.

    Args:
        name: The entry-point name that was asked for.

    Returns:
        A `mox_core.data.DatasetProvider`.
        Stops at the first result that is not None.
    """


@hookspec(firstresult=True)
def mox_launch(request: LaunchRequest) -> Sequence[LaunchProcess] | None:
    """Says which processes `mox launch` starts for an engine, whose plugin alone is asked.

    Args:
        request: What the user asked for.

    Returns:
        The processes, or None for parameter servers and workers that are told about each other by
        mox's own flags.
        Stops at the first result that is not None.
    """


# ---- Set up --------------------------------------------------------------------------------------


@hookspec
def mox_add_flags(registry: FlagRegistry) -> None:
    """Defines flags of the plugin's own, right after the plugin is loaded.

    Args:
        registry: The registry of flags; call its `define`.

    Returns:
        Nothing.
    """


@hookspec
def mox_configure(config: RunPlan) -> None:
    """Sets the plugin up for a run, when its arguments are checked and its engine is chosen.

    Args:
        config: The arguments of `mox.run`; not to be changed.

    Returns:
        Nothing.
    """


@hookspec
def mox_register_commands(subparsers: Commands) -> None:
    """Adds commands to `mox`.

    Args:
        subparsers: Call `parser = subparsers.add_parser(name, help=...)`, add arguments to it as
            with argparse, then `parser.set_defaults(run=function)`. The function takes the parsed
            arguments (`argparse.Namespace`) and returns an exit code or None for 0.

    Returns:
        Nothing.
    """


@hookspec
def mox_report_env() -> Mapping[str, str] | None:
    """Reports versions and settings for `mox info`. Never report the value of a credential.

    Returns:
        Names and values, each a short text, or None.
    """


# ---- Scripts: for `mox run` ----------------------------------------------------------------------


@hookspec
def mox_prepare_script(script: str) -> None:
    """Prepares the process for a script, when its flags are known and `sys.argv` is the script's.

    Args:
        script: The path of the script that `mox run` is about to run.

    Returns:
        Nothing.
    """


@hookspec(firstresult=True)
def mox_explain_error(error: BaseException) -> str | None:
    """Says what an error that ended a script means; `mox run` prints it instead of a traceback.

    Args:
        error: The exception, with its traceback.

    Returns:
        What was wrong, where and what to do, in a line or two, or None to leave it to others.
        Stops at the first result that is not None.
    """


# ---- Observe: failures are logged and never stop a run -------------------------------------------


@hookspec
def mox_run_start(run: RunState) -> None:
    """Told before the first step, when the model is built and restored.

    Args:
        run: The state of the run.

    Returns:
        Nothing.
    """


@hookspec
def mox_step_end(run: RunState, result: StepResults) -> None:
    """Told after the engine has run one step or several at once.

    Args:
        run: The state of the run.
        result: What the step gave: losses, values to log, outputs.

    Returns:
        Nothing.
    """


@hookspec
def mox_eval_end(run: RunState, metrics: Mapping[str, float]) -> None:
    """Told after each evaluation.

    Args:
        run: The state of the run.
        metrics: The mean of each metric over the evaluation.

    Returns:
        Nothing.
    """


@hookspec
def mox_checkpoint_saved(run: RunState, path: str) -> None:
    """Told after a checkpoint is complete at its final place.

    Args:
        run: The state of the run.
        path: Where the checkpoint is, a local path or a URL.

    Returns:
        Nothing.
    """


@hookspec
def mox_export_saved(run: RunState, path: str) -> None:
    """Told after an exported model is complete at its final place.

    Args:
        run: The state of the run.
        path: The directory of the exported model, a local path or a URL.

    Returns:
        Nothing.
    """


@hookspec
def mox_run_error(run: RunState, error: BaseException) -> None:
    """Told when a run ends by an exception, before `mox_run_end`.

    Args:
        run: The state of the run.
        error: The exception, which goes on after all plugins are told.

    Returns:
        Nothing.
    """


@hookspec
def mox_run_end(run: RunState) -> None:
    """Told last, however the run ended.

    Args:
        run: The state of the run.

    Returns:
        Nothing.
    """


# ---- Decide --------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def mox_should_stop(run: RunState) -> str | None:
    """Asks after each step whether the run should end early.

    Args:
        run: The state of the run.

    Returns:
        The reason to stop, which is logged, or None to go on.
        Stops at the first result that is not None.
    """


@hookspec(firstresult=True)
def mox_make_progress(total: int | None, description: str) -> object | None:
    """Makes the progress display of a run or a copy.

    Args:
        total: The number of units to come, None when unknown.
        description: A short text that says what is going on.

    Returns:
        An object with `update(n)` and `close()`, as tqdm has, or None to leave it to others.
        Stops at the first result that is not None.
    """
