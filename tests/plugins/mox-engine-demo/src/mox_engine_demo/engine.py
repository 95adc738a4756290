"""The engine: programs that compute a model's symbols batch by batch."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from mox_core.checkpoint import DamagedError
from mox_core.engine import (
    Capabilities,
    Cluster,
    Engine,
    EngineConfig,
    Fetch,
    Program,
    ProgramRequest,
    RestoreReport,
    StepResults,
    VariableInfo,
)
from mox_core.errors import CheckpointError, SpecError
from mox_core.hooks import RunHook
from mox_core.spec import ModeKeys, ModelSpec, not_scalar_error
from mox_engine_demo.model import Batch, CrossEntropy, Input, Momentum, Symbol, Variable, building

GLOBAL_STEP = "global_step"


class DemoEngine(Engine):
    """Linear classifiers in plain Python; model_fn is called once."""

    name = "demo"
    capabilities = Capabilities(graph=True)

    def setup(self, config: EngineConfig) -> Cluster:
        return Cluster()

    def build(self, request: ProgramRequest) -> DemoProgram:
        return DemoProgram(request)

    def describe(self) -> dict[str, str]:
        return {"python": platform.python_version()}


class DemoProgram(Program):
    """A model and its variables.

    Its arrays, by the names that checkpoints have for them: the variables of the model, a velocity
    for each in mode TRAIN, and the global step.
    """

    def __init__(self, request: ProgramRequest) -> None:
        self.request = request
        self._model: dict[str, Variable] = {}
        self._velocities: dict[str, Variable] = {}
        self._step = Variable((), [0])
        self._batches = _batches(request)
        first = next(self._batches, None)
        if first is None:
            raise SpecError(f"input_fn gives no batch in mode {request.mode!s}.")
        self._next: list[Any] | None = first
        with building(self._model):
            returned = request.model_fn([Input(i) for i in range(len(first))], request.mode)
        self._spec = _checked(ModelSpec.require(returned, request.mode), request)
        self.hooks = tuple(self._spec.hooks or ())
        if request.mode == ModeKeys.TRAIN:
            self._optimizer = _optimizer(request)
            self._velocities = {
                f"{name}/velocity": Variable(variable.shape, [0.0] * len(variable.numbers))
                for name, variable in self._model.items()
            }

    @property
    def towers(self) -> int:
        return 1

    @property
    def global_step(self) -> int:
        return int(self._step.numbers[0])

    def start(self) -> None:
        """Nothing to do: variables begin at zero."""

    def run_steps(self, n: int, fetch: Fetch, stop: Callable[[], bool]) -> StepResults:
        results = StepResults(steps=0, global_step=self.global_step)
        batch = None
        while results.steps < n and results.ended is None:
            if results.steps and stop():
                results.ended = "stop"
                break
            inputs = self._take()
            if inputs is None:
                results.ended = "data"
                break
            batch = Batch(inputs)
            results.steps += 1
            if fetch.values:  # before the update, with which the logits would change
                for symbol in (self._spec.log_info or {}).values():
                    batch.value(symbol)
            if fetch.outputs:
                outputs = (self._spec.output_info or {}).items()
                results.outputs.append({k: np.asarray(batch.value(s)) for k, s in outputs})
            if self.request.mode == ModeKeys.TRAIN:
                self._train(batch, results)
        results.global_step = self.global_step
        if batch is not None and fetch.values:
            shown = (self._spec.log_info or {}).items()
            results.values = [{name: batch.value(symbol) for name, symbol in shown}]
            results.samples = [len(batch.inputs[0])]
        return results

    def _take(self) -> list[Any] | None:
        taken, self._next = self._next, None
        return taken if taken is not None else next(self._batches, None)

    def _train(self, batch: Batch, results: StepResults) -> None:
        loss = self._spec.losses[0]
        if not math.isfinite(batch.value(loss)) and self.request.stop_on_nan:
            results.ended, results.nonfinite = "nan", tuple(self._spec.loss_names())
            return
        velocity_of = dict(zip(self._model.values(), self._velocities.values(), strict=True))
        rate, momentum = self._optimizer.rate, self._optimizer.momentum
        for variable, gradient in loss.gradients(batch):
            velocity = velocity_of[variable].numbers
            velocity[:] = [momentum * v + g for v, g in zip(velocity, gradient, strict=True)]
            variable.numbers[:] = [
                number - rate * v for number, v in zip(variable.numbers, velocity, strict=True)
            ]
        self._step.numbers[0] += 1

    def evaluate(
        self, values: Mapping[str, Any], steps: int, stop: Callable[[], bool]
    ) -> list[tuple[dict[str, float], int | None]]:
        raise NotImplementedError("the core asks only engines that declare inter_mode")

    def _all(self) -> dict[str, Variable]:
        return {**self._model, **self._velocities, GLOBAL_STEP: self._step}

    def variables(self) -> dict[str, Any]:
        return {
            name: np.array(variable.numbers).reshape(variable.shape)
            for name, variable in self._all().items()
        }

    def assign(self, values: Mapping[str, Any]) -> None:
        known = self._all()
        for name, value in values.items():
            if name not in known or np.shape(value) != known[name].shape:
                raise SpecError(f"there is no variable {name!r} of shape {np.shape(value)}.")
        for name, value in values.items():
            known[name].numbers[:] = np.ravel(value).tolist()

    def variable_infos(self) -> list[VariableInfo]:
        return [
            VariableInfo(name, array.shape, array.dtype.name)
            for name, array in self.variables().items()
        ]

    def nonfinite_variables(self) -> list[str]:
        return [
            name
            for name, variable in self._all().items()
            if not all(map(math.isfinite, variable.numbers))
        ]

    def save(self, prefix: str) -> None:
        content = {name: [one.shape, one.numbers] for name, one in self._all().items()}
        with open(f"{prefix}.json", "w", encoding="utf-8") as file:
            json.dump(content, file)

    def restore(
        self, prefix: str, include: Callable[[str], bool], *, state: bool = True
    ) -> RestoreReport:
        saved = _read(prefix)
        fitting: dict[str, Any] = {}
        missing: list[str] = []
        missing_state: list[str] = []
        mismatched: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        for name, variable in self._all().items():
            if not include(name) or (name in self._velocities and not state):
                continue
            if name not in saved:
                (missing if name in self._model else missing_state).append(name)
            elif saved[name].shape != variable.shape:
                mismatched[name] = (saved[name].shape, variable.shape)
            else:
                fitting[name] = saved[name]
        if missing or mismatched:
            fitting = {}
        self.assign(fitting)
        surplus = tuple(name for name in saved if name not in self._all())
        return RestoreReport(
            tuple(fitting), tuple(missing), tuple(missing_state), mismatched, surplus
        )

    def close(self) -> None:
        """Nothing to release."""


def _batches(request: ProgramRequest) -> Iterator[list[Any]]:
    assert request.input_fn is not None, "demo exports nothing, and only exports have no input_fn"
    source = request.input_fn(request.mode)
    if not isinstance(source, Iterable):
        raise SpecError(
            f"input_fn returned {source!r} in mode {request.mode!s}.\n"
            "  Return an iterable of (features, labels), each a list."
        )
    return (list(item) for item in source)


def _checked(spec: ModelSpec, request: ProgramRequest) -> ModelSpec:
    if len(spec.losses) > 1:
        raise SpecError("ModelSpec.loss is a list; engine 'demo' takes one loss.")
    scalars = {"loss": spec.losses[0]} if spec.losses else {}
    scalars |= {f"log_info[{name!r}]": symbol for name, symbol in (spec.log_info or {}).items()}
    for field, symbol in scalars.items():
        if not isinstance(symbol, Symbol):
            raise SpecError(f"ModelSpec.{field} is a {type(symbol).__name__}, no symbol of demo.")
        if symbol.shape:
            raise not_scalar_error(field, symbol.shape, request.mode)
    if request.mode == ModeKeys.TRAIN and not isinstance(spec.losses[0], CrossEntropy):
        raise SpecError("ModelSpec.loss has to be a demo.cross_entropy; nothing else is trained.")
    for index, hook in enumerate(spec.hooks or ()):
        if not isinstance(hook, RunHook):
            raise SpecError(
                f"ModelSpec.hooks[{index}] is a {type(hook).__name__}; it has to be a mox.RunHook."
            )
    return spec


def _optimizer(request: ProgramRequest) -> Momentum:
    optimizer = request.optimizer_fns[0]()
    if not isinstance(optimizer, Momentum):
        raise SpecError(
            f"optimizer_fn returned {optimizer!r}; engine 'demo' takes a demo.Momentum."
        )
    return optimizer


def _read(prefix: str) -> dict[str, Any]:
    path = f"{prefix}.json"
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        return {
            name: np.array(numbers, dtype=float).reshape(shape)
            for name, (shape, numbers) in content.items()
        }
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist.") from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DamagedError(prefix, f"{os.path.basename(path)}: {error}") from error
