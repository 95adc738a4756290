"""RunPlan: the arguments of `mox.run`, checked before anything is built."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mox_core.errors import SpecError
from mox_core.hooks.base import RunHook
from mox_core.spec import Mode, ModeKeys
from mox_core.storage.urls import locate
from mox_core.wording import a_type

__all__ = ["DEFAULT_SAVE_SECONDS", "UNSET", "RunPlan", "make_plan"]

DEFAULT_SAVE_SECONDS = 600.0


class _Unset:
    """Tells an argument that was left out from one that is None."""

    def __repr__(self) -> str:
        return "<unset>"


UNSET: Any = _Unset()


@dataclass(frozen=True)
class RunPlan:
    """What a run will do.

    Args:
        mode: TRAIN, EVAL or PREDICT.
        inter_mode: the mode of evaluations inside a training run, or None.
        input_fn: the user's function, or (until `for_engine`) a dict of them by engine.
        model_fn: the same.
        output_fn: the user's function, or None.
        optimizer_fns: the user's functions; empty unless mode is TRAIN.
        batch_size: samples per tower and step, or None when unknown.
        auto_batch: whether the engine batches single samples.
        log_dir: folder for checkpoints, summaries and metrics, or None. Once the run has begun,
            a remote one is the local folder where it is staged.
        checkpoint_path: folder or prefix to load from when log_dir has no checkpoint.
        max_steps: the run ends before this step; None: when the data end.
        log_every_n_steps: 0 for never.
        output_every_n_steps: steps per call of output_fn; 0: one call at the end.
        save_summary_steps: 0 for never.
        save_secs: seconds between checkpoints, or None.
        save_steps: steps between checkpoints, or None.
        export_format: `""` for no export; `"default"` for the engine's first.
        hooks: hooks of this run besides those of the ModelSpec.
        stop_on_nan: whether a loss that is not finite ends the run.
        towers: how many towers.
        keep_checkpoints: how many checkpoints stay in log_dir; 0: all.
        include_patterns: of variable names to load from checkpoint_path; empty: all.
        exclude_patterns: of variable names not to load from checkpoint_path.
        log_first_clone: the log line shows the first tower; else the mean over the towers.
        progress: `"auto"`, `"on"` or `"off"`.
        neutral: the functions are written over `mox_core.nn`, for any engine.
    """

    mode: Mode
    inter_mode: Mode | None
    input_fn: Any
    model_fn: Any
    output_fn: Callable[..., Any] | None
    optimizer_fns: tuple[Callable[[], Any], ...]
    batch_size: int | None
    auto_batch: bool
    log_dir: str | None
    checkpoint_path: str | None
    max_steps: int | None
    log_every_n_steps: int
    output_every_n_steps: int
    save_summary_steps: int
    save_secs: float | None
    save_steps: int | None
    export_format: str
    hooks: tuple[RunHook, ...]
    stop_on_nan: bool = True
    towers: int = 1
    keep_checkpoints: int = 5
    include_patterns: tuple[str, ...] = ()
    exclude_patterns: tuple[str, ...] = ()
    log_first_clone: bool = True
    progress: str = "auto"
    neutral: bool = False

    @property
    def training(self) -> bool:
        """True in mode TRAIN."""
        return self.mode == ModeKeys.TRAIN

    def for_engine(self, engine: str, *, native: bool) -> RunPlan:
        """The plan with the functions that were given for this engine.

        Args:
            engine: its name.
            native: the functions are written for this engine, also where they are no dicts.

        Raises:
            SpecError: there are functions for others only.
        """
        return replace(
            self,
            neutral=not native and not isinstance(self.model_fn, Mapping),
            input_fn=_of_engine("input_fn", self.input_fn, engine),
            model_fn=_of_engine("model_fn", self.model_fn, engine),
            optimizer_fns=tuple(
                _of_engine("optimizer_fn", one, engine) for one in self.optimizer_fns
            ),
        )


def make_plan(arguments: Mapping[str, Any], get_flag: Callable[[str], Any]) -> RunPlan:
    """Checks the arguments of `mox.run` and the flags that go with them.

    Args:
        arguments: every argument of `mox.run` by its name, but `engine`.
        get_flag: reads a flag.

    Raises:
        SpecError: an argument does not fit; the message names it. A ValueError too.
    """
    mode = ModeKeys.parse(arguments["run_mode"])
    inter = arguments["inter_mode"]
    batch_size = _count("batch_size", arguments["batch_size"], none=True)
    save_secs, save_steps = _save_cadence(
        arguments["save_model_secs"], arguments["save_model_steps"]
    )
    output_fn = arguments["output_fn"]
    if output_fn is not None:
        _check_callable("output_fn", output_fn, ("outputs",))
    return RunPlan(
        mode=mode,
        inter_mode=None if inter is None else ModeKeys.parse(inter, argument="inter_mode"),
        input_fn=_check_functions("input_fn", arguments["input_fn"], ("mode",)),
        model_fn=_check_functions("model_fn", arguments["model_fn"], ("inputs", "mode")),
        output_fn=output_fn,
        optimizer_fns=_optimizer_fns(arguments["optimizer_fn"]) if mode == ModeKeys.TRAIN else (),
        batch_size=batch_size,
        auto_batch=bool(arguments["auto_batch"]) and batch_size is not None,
        log_dir=_place("log_dir", arguments["log_dir"]),
        checkpoint_path=_place("checkpoint_path", arguments["checkpoint_path"]),
        max_steps=_max_steps(arguments["max_number_of_steps"]),
        log_every_n_steps=_count("log_every_n_steps", arguments["log_every_n_steps"]) or 0,
        output_every_n_steps=_count("output_every_n_steps", arguments["output_every_n_steps"]) or 0,
        save_summary_steps=_count("save_summary_steps", arguments["save_summary_steps"]) or 0,
        save_secs=save_secs,
        save_steps=save_steps,
        export_format=_export_format(arguments["export_model"], arguments["log_dir"]),
        hooks=_hooks(arguments["hooks"]),
        stop_on_nan=get_flag("nan") == "stop",
        towers=_count("num_gpus", get_flag("num_gpus")) or 1,
        keep_checkpoints=get_flag("keep_checkpoint_max"),
        include_patterns=_patterns(get_flag("checkpoint_include_patterns")),
        exclude_patterns=_patterns(get_flag("checkpoint_exclude_patterns")),
        log_first_clone=get_flag("log_first_clone"),
        progress="off" if get_flag("silent") else get_flag("progress"),
    )


def _of_engine(name: str, given: Any, engine: str) -> Any:
    if not isinstance(given, Mapping):
        return given
    if engine not in given:
        raise SpecError(
            f"{name} is given for {', '.join(map(repr, given))}, and this run uses engine "
            f"{engine!r}.\n  Add a function for it, or choose another engine."
        )
    return given[engine]


def _check_functions(name: str, given: Any, parameters: tuple[str, ...]) -> Any:
    """Checks a function, or the functions of a dict by engine."""
    if not isinstance(given, Mapping):
        return _check_callable(name, given, parameters)
    for engine, function in given.items():
        _check_callable(f"{name}[{engine!r}]", function, parameters)
    return dict(given)


def _check_callable(name: str, function: Any, parameters: tuple[str, ...]) -> Callable[..., Any]:
    if function is None:
        raise SpecError(f"{name} is missing; pass mox.run({name}=...).")
    if not callable(function):
        raise SpecError(f"{name} is {a_type(function)}; it has to be a function.")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-in callables have none
        return function  # type: ignore[no-any-return]
    try:
        signature.bind(*parameters)
    except TypeError:
        called = f"{name}({', '.join(parameters)})"
        raise SpecError(
            f"{name} takes {signature}, but mox calls {called}, by position.\n"
            f"  Define it as `def {called}:`."
        ) from None
    return function  # type: ignore[no-any-return]


def _optimizer_fns(given: Any) -> tuple[Callable[[], Any], ...]:
    functions = list(given) if isinstance(given, (list, tuple)) else [given]
    if given is None or not functions:
        raise SpecError(
            "optimizer_fn is missing; mode TRAIN needs it.\n"
            "  Pass a function that returns an optimizer: mox.run(optimizer_fn=...)."
        )
    for function in functions:
        if not callable(function) and not isinstance(function, Mapping):
            raise SpecError(
                f"optimizer_fn is {a_type(function)}; it has to be a function without "
                "arguments that returns an optimizer (or a list of such, one per loss)."
            )
        _check_functions("optimizer_fn", function, ())
    return tuple(functions)


def _count(name: str, value: Any, *, none: bool = False) -> int | None:
    if value is None and none:
        return None
    number = 0 if value is None else value
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if isinstance(number, bool) or not hasattr(number, "__index__") or number < 0:
        raise SpecError(f"{name} is {value!r}; it has to be a whole number, 0 or more.")
    if none and number == 0:
        raise SpecError(f"{name} is 0; give 1 or more, or None.")
    return int(number)


def _max_steps(value: Any) -> int | None:
    """0, the default, means: until the data end. MOX_MAX_STEPS caps any run from outside."""
    steps = _count("max_number_of_steps", value) or None
    if steps is not None and steps >= sys.maxsize:
        steps = None
    cap = os.environ.get("MOX_MAX_STEPS", "")
    if cap:
        if not cap.isdigit() or int(cap) == 0:
            raise SpecError(f"MOX_MAX_STEPS={cap!r} in the environment is not a number above 0.")
        steps = int(cap) if steps is None else min(steps, int(cap))
    return steps


def _save_cadence(secs: Any, steps: Any) -> tuple[float | None, int | None]:
    """Seconds win over steps when both are given (manual 004, section 4)."""
    if secs is not UNSET and secs is not None:
        if isinstance(secs, bool) or not isinstance(secs, (int, float)) or secs < 0:
            raise SpecError(f"save_model_secs is {secs!r}; it has to be a number of seconds.")
        return (float(secs) or None), None
    if steps is not UNSET and steps is not None:
        return None, _count("save_model_steps", steps) or None
    return (None, None) if secs is None or steps is None else (DEFAULT_SAVE_SECONDS, None)


def _export_format(value: Any, log_dir: Any) -> str:
    if value is None or value is False or value == "":
        return ""
    if value is not True and not isinstance(value, str):
        raise SpecError(
            f"export_model is {value!r}; use one of mox.ExportKeys, the name of a format, or True."
        )
    if not log_dir:
        raise SpecError(
            "export_model needs log_dir, since the model is exported below it.\n"
            "  Pass mox.run(log_dir=...)."
        )
    return "default" if value is True else value


def _hooks(given: Any) -> tuple[RunHook, ...]:
    if not isinstance(given, Sequence):
        raise SpecError(f"hooks is {a_type(given)}; give a list of mox.RunHook.")
    for index, hook in enumerate(given):
        if not isinstance(hook, RunHook):
            raise SpecError(
                f"hooks[{index}] is {a_type(hook)}; it has to be a mox.RunHook.\n"
                "  Hooks of the engine's own kind go into ModelSpec.hooks."
            )
    return tuple(given)


def _patterns(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _place(name: str, value: Any) -> str | None:
    """A local path, or the URL of something that a driver serves, without a `/` at the end."""
    if value is None or value == "":
        return None
    path = os.fspath(value)
    if not isinstance(path, str):
        raise SpecError(f"{name} is {value!r}; it has to be a path.")
    if "://" in path:
        location = locate(path)
        if not location.is_local:
            return location.url.rstrip("/")
        path = location.path
    return os.path.expanduser(path)
