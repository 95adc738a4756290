"""A complete engine in NumPy: the reference for authors, and what core's own tests run on.

It is eager: model_fn is called in every step, once per tower, with tensors that hold values. What
a model is made of stands in `toy_nn`, how input_fn is read in `mox_core.nn.feed`, and how neutral
scripts run in `toy_neutral`.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mox_core import nn
from mox_core.eager import GLOBAL_STEP, EagerProgram, HeldVariables, Rows
from mox_core.engine import (
    Capabilities,
    Cluster,
    Engine,
    EngineConfig,
    Fetch,
    ProgramRequest,
    RestoreReport,
    StepResults,
    VariableInfo,
)
from mox_core.errors import EngineError
from mox_core.nn.feed import Batch, Feed
from mox_core.optim import OptimizerSpec
from mox_core.patterns import in_scopes
from mox_core.spec import Mode, ModeKeys, ModelSpec
from mox_core.spec_rules import (
    SpecRules,
    nothing_to_train_error,
    optimizer_fn_per_loss,
    optimizer_kind_error,
)
from mox_core.testing.toy_checkpoint import checkpoint_file, read_arrays, write_arrays
from mox_core.testing.toy_export import export_toy_npz
from mox_core.testing.toy_neutral import NeutralModel, NeutralOptimizer
from mox_core.testing.toy_nn import (
    Array,
    Optimizer,
    Tensor,
    Variable,
    VariableStore,
    gradients,
    replay,
)

__all__ = ["ToyEngine", "ToyProgram"]

RULES = SpecRules("toy", Tensor, "a toy_nn.Tensor")


class ToyEngine(Engine):
    """Trains small models with NumPy."""

    name = "toy"
    capabilities = Capabilities(
        towers=True,
        inter_mode=True,
        multi_loss=True,
        auto_batch=True,
        neutral=True,
        export_formats=("toy_npz",),
    )

    def __init__(self) -> None:
        self._towers = 1

    def setup(self, config: EngineConfig) -> Cluster:
        """Remembers the number of towers; there is nothing to connect to."""
        self._towers = config.towers
        return Cluster()

    def build(self, request: ProgramRequest) -> ToyProgram:
        """Makes the program, which calls the user's functions once to see what they make."""
        return ToyProgram(request, self._towers)

    def describe(self) -> dict[str, str]:
        """Versions, for `mox doctor`."""
        return {"numpy": np.__version__, "machine": platform.machine()}

    def read_checkpoint(self, prefix: str) -> list[VariableInfo] | None:
        """Describes a checkpoint that was copied without mox's record of it."""
        arrays = self.read_variables(prefix)
        if arrays is None:
            return None
        return [VariableInfo(name, array.shape, array.dtype.name) for name, array in arrays.items()]

    def read_variables(self, prefix: str) -> dict[str, Array] | None:
        """Reads a checkpoint for another engine."""
        return read_arrays(prefix) if os.path.isfile(checkpoint_file(prefix)) else None

    def write_variables(self, prefix: str, values: Mapping[str, Array]) -> None:
        """Writes another engine's variables."""
        write_arrays(prefix, values)


@dataclass(frozen=True)
class ModelCall:
    """One call of model_fn.

    Args:
        inputs: position or name -> the tensor that model_fn got.
        spec: what it returned.
        updates: what else than the optimizers changes variables (moving averages).
    """

    inputs: dict[Any, Tensor]
    spec: ModelSpec
    updates: dict[Variable, Array] = field(default_factory=dict)

    @property
    def samples(self) -> int | None:
        """The leading dimension of the first input."""
        shape = next(iter(self.inputs.values())).shape
        return shape[0] if shape else None

    def values(self) -> dict[str, float]:
        """`log_info` as numbers."""
        return {name: float(_array(value)) for name, value in (self.spec.log_info or {}).items()}

    def outputs(self) -> dict[str, Array]:
        """`output_info` as arrays."""
        return {name: _array(value) for name, value in (self.spec.output_info or {}).items()}

    def nonfinite_losses(self) -> tuple[str, ...]:
        """Names of the losses that are NaN or infinite."""
        named = zip(self.spec.loss_names(), self.spec.losses, strict=True)
        return tuple(name for name, loss in named if not np.isfinite(_array(loss)))


@dataclass
class Update:
    """How one loss changes the variables.

    Args:
        optimizer: the user's.
        slots: variable -> slot name -> the optimizer's state.
        scalars: the state of the optimizer as a whole.
    """

    optimizer: Optimizer
    slots: dict[Variable, dict[str, Array]]
    scalars: dict[str, Array]


class ToyVariables(HeldVariables):
    """The variables of a model and of its optimizers.

    Args:
        store: those of the model.
        updates: have the optimizers' state.
    """

    def __init__(self, store: VariableStore, updates: Sequence[Update]) -> None:
        self._store = store
        self._updates = updates

    def infos(self) -> list[VariableInfo]:
        """Describes them."""
        model, state = self._model(), self._state()
        return [
            VariableInfo(name, array.shape, array.dtype.name, name in state)
            for name, array in {**model, **state}.items()
        ]

    def arrays(self) -> dict[str, Array]:
        """Name -> copy."""
        return {name: array.copy() for name, array in {**self._model(), **self._state()}.items()}

    def nonfinite(self) -> list[str]:
        """Names of those that hold NaN or infinity."""
        return [name for name, array in self.arrays().items() if not np.isfinite(array).all()]

    def _set(self, values: Mapping[str, Any]) -> None:
        state = self._state()
        for name, value in values.items():
            if name in state:
                state[name][...] = value
            else:
                variable = self._store.variables[name]
                variable.value = np.array(value, dtype=variable.value.dtype)

    def _model(self) -> dict[str, Array]:
        return {name: variable.value for name, variable in self._store.variables.items()}

    def _state(self) -> dict[str, Array]:
        """Optimizer slots and the global step, by the names that a checkpoint has for them."""
        state = {}
        for index, update in enumerate(self._updates):
            # A neutral optimizer knows the names itself.
            native = not isinstance(update.optimizer, NeutralOptimizer)
            suffix = f"_{index}" if index and native else ""
            state.update({f"{name}{suffix}": array for name, array in update.scalars.items()})
            for variable, slots in update.slots.items():
                for slot, array in slots.items():
                    state[f"{variable.name}/{slot}{suffix}"] = array
        return {**state, GLOBAL_STEP: np.asarray(self.global_step)}


class ToyProgram(EagerProgram[Batch]):
    """The user's functions and their variables.

    Args:
        request: what to build.
        towers: how many calls of model_fn make a step.
    """

    def __init__(self, request: ProgramRequest, towers: int) -> None:
        self.request = request
        self._towers = 1 if request.mode == ModeKeys.EXPORT else towers
        self._store = VariableStore()
        self._neutral = NeutralModel(request.model_fn, self._store) if request.neutral else None
        self._updates: list[Update] = []
        self._variables = ToyVariables(self._store, self._updates)
        self._feed = None if request.mode == ModeKeys.EXPORT else self._make_feed(request.mode)
        # The first call makes the variables and shows the hooks; its values are not used.
        self._first = self._call_model(
            request.mode, self._feed.first if self._feed else _zeros(request.input_spec)
        )
        self.hooks = RULES.hooks(self._first.spec)
        self.export_spec = RULES.export_spec(self._first.spec)
        self.input_spec = {
            key: (tensor.shape, tensor.value.dtype) for key, tensor in self._first.inputs.items()
        }
        if request.mode == ModeKeys.TRAIN:
            self._updates += _make_updates(request, self._first.spec)
        if request.inter_mode is not None:
            self._inter_feed = self._make_feed(request.inter_mode)
            self._store.frozen = True  # what only an evaluation has would never be trained
            self._inter_first = self._call_model(request.inter_mode, self._inter_feed.first)
            self._inter_tensors = self._neutral.tensors if self._neutral else {}
            self.inter_hooks = RULES.hooks(self._inter_first.spec)
        self._store.frozen = True

    @property
    def towers(self) -> int:
        """How many calls of model_fn make a step."""
        return self._towers

    # ---- Steps -------------------------------------------------------------------------------

    def run_steps(self, n: int, fetch: Fetch, stop: Callable[[], bool]) -> StepResults:
        """Runs at most `n` steps."""
        results = StepResults(steps=0, global_step=self.global_step)
        calls: list[ModelCall] = []
        while results.steps < n and results.ended is None:
            if results.steps and stop():
                results.ended = "stop"
                break
            batches = self._next_batches()
            if not batches:
                results.ended = "data"
                break
            calls = [self._call_model(self.request.mode, b, i) for i, b in enumerate(batches)]
            results.steps += 1
            if fetch.outputs:
                results.outputs += [call.outputs() for call in calls]
            if self._updates:
                results.nonfinite = _nonfinite_losses(calls)
                if results.nonfinite and self.request.stop_on_nan:
                    results.ended = "nan"  # before the update, which would spoil the variables
                else:
                    self._update(calls)
        results.global_step = self.global_step
        if fetch.values:
            results.values = [call.values() for call in calls]
            results.samples = [call.samples for call in calls]
        return results

    @contextmanager
    def _evaluation(self, values: Mapping[str, Any]) -> Iterator[Callable[[Batch], Rows]]:
        """Computes `values` again from other inputs."""
        mode = str(self.request.inter_mode)
        values = {name: self._toy_tensor(value) for name, value in values.items()}
        for name, value in values.items():
            RULES.require_scalar(value, f"hooks: monitor_info[{name!r}]", mode)
        tensors = [
            value if isinstance(value, Tensor) else Tensor(value) for value in values.values()
        ]

        def compute(batch: Batch) -> Rows:
            given = {tensor: batch[key] for key, tensor in self._inter_first.inputs.items()}
            numbers = [float(number) for number in replay(tensors, given)]
            first = next(iter(batch.values()))
            return dict(zip(values, numbers, strict=True)), len(first) if first.shape else None

        yield compute

    def _toy_tensor(self, value: Any) -> Any:
        """The toy engine's tensor of the inter mode for a neutral one; others as they are."""
        return self._inter_tensors[value] if isinstance(value, nn.Tensor) else value

    def _make_feed(self, mode: Mode) -> Feed:
        request = self.request
        assert request.input_fn is not None
        return Feed(
            request.input_fn,
            mode,
            batch_size=request.batch_size if request.auto_batch else None,
            keep_rest=mode != ModeKeys.TRAIN,
        )

    def _next_batches(self) -> list[Batch]:
        """One batch per tower; at the end of the data fewer, but not for an update."""
        assert self._feed is not None, "a program of mode EXPORT runs no steps"
        batches = self._feed.take(self._towers)
        return [] if self._updates and len(batches) < self._towers else batches

    def _call_model(self, mode: Mode, batch: Batch, tower: int = 0) -> ModelCall:
        inputs = {key: Tensor(array) for key, array in batch.items()}
        if self._neutral is not None:
            return ModelCall(inputs, *self._neutral.call(inputs, mode, tower))
        named = any(isinstance(key, str) for key in inputs)
        with self._store.active():
            returned = self.request.model_fn(dict(inputs) if named else list(inputs.values()), mode)
        spec = ModelSpec.require(returned, mode)
        RULES.check(spec, mode, losses=len(self._updates) or None)
        return ModelCall(inputs, spec)

    def _update(self, calls: list[ModelCall]) -> None:
        """Averages the gradients over the towers; takes all of them before it applies any."""
        per_loss = [
            [gradients(call.spec.losses[index]) for call in calls]
            for index in range(len(self._updates))
        ]
        for update, towers in zip(self._updates, per_loss, strict=True):
            for variable, slots in update.slots.items():
                unused = np.zeros_like(variable.value)
                gradient = np.mean([tower.get(variable, unused) for tower in towers], axis=0)
                variable.value = update.optimizer.update(
                    variable.value, gradient, {**slots, **update.scalars}, self.global_step
                )
            update.optimizer.finish(update.scalars)
        for variable, value in calls[0].updates.items():
            variable.value = value
        self._variables.global_step += 1

    # ---- Files -------------------------------------------------------------------------------

    def save(self, prefix: str) -> None:
        """Writes `<prefix>.npz`."""
        write_arrays(prefix, self.variables())

    def restore(
        self, prefix: str, include: Callable[[str], bool], *, state: bool = True
    ) -> RestoreReport:
        """Reads `<prefix>.npz`; all of it is checked before anything is changed."""
        return self._variables.take(read_arrays(prefix), include, state=state)

    def export(self, export_format: str, directory: str) -> None:
        """Writes the model into `directory`.

        Raises:
            EngineError: another format was asked for.
        """
        if export_format not in ToyEngine.capabilities.export_formats:
            raise EngineError(f"engine 'toy' exports toy_npz, not {export_format!r}.")
        assert self.export_spec is not None, "ModelSpec.require has checked it"
        export_toy_npz(self.export_spec, self._first.inputs, directory)


def _array(value: Any) -> Array:
    return value.value if isinstance(value, Tensor) else np.asarray(value)


def _zeros(input_spec: Mapping[Any, Any]) -> Batch:
    return {key: np.zeros(shape, dtype) for key, (shape, dtype) in input_spec.items()}


def _nonfinite_losses(calls: list[ModelCall]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for call in calls for name in call.nonfinite_losses()))


def _make_updates(request: ProgramRequest, spec: ModelSpec) -> list[Update]:
    """Pairs each loss with an optimizer and finds the variables that it updates."""
    functions = optimizer_fn_per_loss(spec, request.optimizer_fns)
    updates = []
    for index, (loss, function) in enumerate(zip(spec.losses, functions, strict=True)):
        optimizer = function()
        if isinstance(optimizer, OptimizerSpec):
            optimizer = NeutralOptimizer(optimizer.for_loss(index))
        if not isinstance(optimizer, Optimizer):
            wanted = "an optimizer of mox.get_optimizer_fn or of mox_core.testing.toy_nn"
            raise optimizer_kind_error(optimizer, ToyEngine.name, wanted)
        scopes = spec.scopes_of(index)
        trained = [variable for variable in gradients(loss) if in_scopes(variable.name, scopes)]
        if not trained:
            raise nothing_to_train_error(spec, index)
        slots = {
            variable: {
                slot: np.full_like(variable.value, first) for slot, first in optimizer.slots.items()
            }
            for variable in trained
        }
        scalars = {name: np.asarray(first) for name, first in optimizer.scalars.items()}
        updates.append(Update(optimizer, slots, scalars))
    return updates
