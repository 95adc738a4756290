"""MoXing's other signature for PyTorch: `mox.run(input_data=, model=, loss_fn=, ...)`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

import mox_core
from mox_core.engine import Engine, Fetch
from mox_core.errors import SpecError
from mox_core.flags import registry
from mox_core.hooks.base import RunHook
from mox_core.spec import ModelSpec
from mox_core.wording import a_type
from mox_torch.lr_schedulers import load_scheduler, scheduler_state
from mox_torch.store import module

__all__ = ["run_module"]


def run_module(
    engine: Engine,
    *,
    input_data: Iterable[Any],
    model: nn.Module,
    run_mode: str,
    loss_fn: Callable[[nn.Module, Any], Any] | None = None,
    log_dir: str | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    scheduler: Any = None,
    epoches: int = 1,
    num_gpus: int | None = None,
    print_freq: int = 10,
    **options: Any,
) -> mox_core.RunResult:
    """Runs a module over a DataLoader.

    Args:
        engine: the PyTorch engine.
        input_data: a DataLoader, or any iterable of batches; read once per epoch.
        model: its variables are saved as `model/...`.
        run_mode: TRAIN or EVAL; PREDICT hands `model(*inputs)` to output_fn as `output`.
        loss_fn: `loss_fn(model, inputs)` returns the loss, or a dict with `loss` and other scalars,
            which are all logged.
        log_dir: folder for checkpoints; None: nothing is saved.
        optimizer: over the model's parameters; TRAIN needs it.
        scheduler: of the learning rate; stepped after every epoch.
        epoches: how often the data are read in TRAIN.
        num_gpus: as the flag.
        print_freq: steps between log lines.
        options: further arguments of `mox_core.run`.

    Raises:
        SpecError: an argument does not fit.
    """
    if not isinstance(model, nn.Module):
        raise SpecError(f"model is {a_type(model)}; it has to be a torch.nn.Module.")
    if loss_fn is None and run_mode != mox_core.ModeKeys.PREDICT:
        raise SpecError(f"loss_fn is missing; mode {run_mode} needs it: loss_fn(model, inputs).")
    if num_gpus is not None:
        registry().set("num_gpus", num_gpus)
    epochs = _Epochs(input_data, epoches, scheduler)

    def model_fn(inputs: Any, mode: Any) -> ModelSpec:
        net = module("model", lambda: model)
        if loss_fn is None:
            arguments = inputs.values() if isinstance(inputs, Mapping) else inputs
            return ModelSpec(output_info={"output": net(*arguments)})
        returned = loss_fn(net, inputs)
        info = dict(returned) if isinstance(returned, Mapping) else {"loss": returned}
        return ModelSpec(loss=info.get("loss"), log_info=info)

    training = run_mode == mox_core.ModeKeys.TRAIN
    return mox_core.run(
        input_fn=lambda mode: epochs if training else input_data,
        model_fn=model_fn,
        optimizer_fn=None if optimizer is None else lambda: optimizer,
        run_mode=run_mode,
        log_dir=log_dir,
        log_every_n_steps=print_freq,
        engine=engine,
        hooks=[*options.pop("hooks", ()), *([epochs] if training else [])],
        **options,
    )


class _Epochs(RunHook):
    """The data, several times over; the scheduler steps in between.

    As a hook it keeps the number of the epoch and the scheduler's state in every checkpoint. A
    run that resumes begins that epoch again.
    """

    fetch = Fetch()

    def __init__(self, data: Iterable[Any], count: int, scheduler: Any) -> None:
        self._data = data
        self._count = count
        self._scheduler = scheduler
        self._epoch = 0

    def __iter__(self) -> Iterator[Any]:
        while self._epoch < self._count:
            if hasattr(self._data, "set_epoch"):
                self._data.set_epoch(self._epoch)
            yield from self._data
            self._epoch += 1
            if self._scheduler is not None:
                self._scheduler.step()

    def next_step(self, step: int) -> int | None:
        return None

    def state(self) -> dict[str, Any]:
        return {"epoch": self._epoch, "scheduler": scheduler_state(self._scheduler)}

    def load_state(self, state: dict[str, Any]) -> None:
        self._epoch = state["epoch"]
        load_scheduler(self._scheduler, state["scheduler"])
