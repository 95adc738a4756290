"""`mox_core.run` with the PyTorch engine."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import mox_core
from mox_core.engine import Engine
from mox_core.errors import EngineError
from mox_torch.engine import TorchEngine
from mox_torch.module_run import run_module

__all__ = ["run"]


@functools.wraps(mox_core.run)
def run(*arguments: Any, **options: Any) -> mox_core.RunResult:
    """See `mox_core.run`.

    Besides, `optimizer_fn` may take the parameters that it is to update:
    `optimizer_fn=lambda parameters: torch.optim.SGD(parameters, lr=0.1)`. And with `input_data`
    it takes the arguments of MoXing's PyTorch API, see `mox_torch.module_run.run_module`.
    """
    engine = options.pop("engine", None) or "torch"
    if getattr(engine, "name", engine) != "torch":
        raise EngineError(
            f"mox_torch.run runs engine 'torch', but engine={engine!r} was given.\n"
            "  `import mox_core as mox` leaves the choice to you."
        )
    chosen = engine if isinstance(engine, Engine) else TorchEngine()
    if "input_data" in options:
        return run_module(chosen, **options)
    given = dict(zip(inspect.signature(mox_core.run).parameters, arguments, strict=False))
    options = {**given, **options}
    optimizer_fn = options.get("optimizer_fn")
    if isinstance(optimizer_fn, (list, tuple)):
        options["optimizer_fn"] = [_without_arguments(one) for one in optimizer_fn]
    elif optimizer_fn is not None:
        options["optimizer_fn"] = _without_arguments(optimizer_fn)
    return mox_core.run(engine=chosen, **options)


def _without_arguments(function: Any) -> Any:
    """A function of the parameters, as the engine takes it: returned by one without arguments."""
    if not _takes_parameters(function):
        return function
    return lambda: function


def _takes_parameters(function: Callable[..., Any]) -> bool:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return False
    try:
        signature.bind()
    except TypeError:
        return True
    return False
