"""How the toy engine runs neutral scripts: it lowers their graphs to its own operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mox_core import nn
from mox_core.errors import SpecError
from mox_core.nn.lowering import batch_norm_updates, lower, map_spec, spec_tensors
from mox_core.optim import OptimizerSpec
from mox_core.spec import Mode, ModelSpec
from mox_core.testing.nn_optimizers import next_scalars, update_variable
from mox_core.testing.nn_reference import batch_statistics
from mox_core.testing.toy_nn import Array, Optimizer, Tensor, Variable, VariableStore, apply

__all__ = ["NeutralModel", "NeutralOptimizer"]


class NeutralModel:
    """A neutral model_fn, as the toy engine calls it: with values, in every step.

    Args:
        model_fn: the user's function; it is called once per tower and mode.
        store: the toy engine's variables.
    """

    def __init__(self, model_fn: Callable[..., Any], store: VariableStore) -> None:
        self._model_fn = model_fn
        self._store = store
        self._neutral = nn.VariableStore()
        self._traces: dict[tuple[Mode, int], nn.Trace] = {}
        self._random = np.random.default_rng(0)
        self.tensors: dict[nn.Tensor, Tensor] = {}

    def call(
        self, inputs: Mapping[Any, Tensor], mode: Mode, tower: int
    ) -> tuple[ModelSpec, dict[Variable, Array]]:
        """Computes the model; `tensors` then holds the toy tensor of each neutral one.

        Returns:
            A ModelSpec of toy tensors, and the next values of the moving averages that a training
            step of the first tower changes.
        """
        trace = self._traces.get((mode, tower))
        if trace is None:
            specs = {key: _spec_of(tensor) for key, tensor in inputs.items()}
            trace = nn.trace(self._model_fn, specs, mode, store=self._neutral)
            self._neutral.frozen = True
            self._traces[mode, tower] = trace
        given: dict[nn.Tensor, Tensor] = {}
        for key, neutral in trace.inputs.items():
            _check_shape(key, inputs[key].shape, neutral.shape)
            given[neutral] = inputs[key]
        for variable in trace.graph.variables.values():
            given[variable] = self._variable(variable)
        norms = batch_norm_updates(trace.graph) if tower == 0 else []
        self.tensors = lower([*spec_tensors(trace.spec), *norms], given, self._compute)
        updates: dict[Variable, Array] = {}
        for norm in norms:
            updates.update(_moved(norm, self.tensors))
        return map_spec(trace.spec, self.tensors.__getitem__), updates

    def _variable(self, neutral: nn.Variable) -> Variable:
        def first(shape: tuple[int, ...]) -> Array:
            value: Array = nn.initial_value(neutral)
            return value

        shape = tuple(size for size in neutral.shape if size is not None)
        return self._store.get(
            neutral.name, shape, first, trainable=neutral.trainable, dtype=neutral.dtype
        )

    def _compute(self, neutral: nn.Tensor, inputs: Sequence[Tensor | None]) -> Tensor:
        if neutral.op == "dropout":
            x = inputs[0]
            assert x is not None
            keep = neutral.attrs["keep_prob"]
            mask = (self._random.random(x.shape) < keep) / keep
            return apply("multiply", x, mask.astype(x.value.dtype))
        return apply(f"nn.{neutral.op}", *inputs, attrs=neutral.attrs)


def _spec_of(tensor: Tensor) -> nn.InputSpec:
    shape = (None, *tensor.shape[1:]) if tensor.shape else ()
    return nn.InputSpec(shape, str(tensor.value.dtype))


def _check_shape(key: Any, got: tuple[int, ...], built: Any) -> None:
    if len(got) != len(built) or any(
        wanted not in (None, size) for size, wanted in zip(got, built, strict=True)
    ):
        raise SpecError(
            f"inputs[{key!r}] of a later batch has shape {got}; the model was built for {built}.\n"
            "  Give all batches the same shape but for the number of samples."
        )


def _moved(norm: nn.Tensor, tensors: Mapping[nn.Tensor, Tensor]) -> dict[Variable, Array]:
    x, *_, moving_mean, moving_variance = norm.inputs
    assert x is not None and moving_mean is not None and moving_variance is not None
    mean, variance, count = batch_statistics(tensors[x].value)
    decay = norm.attrs["decay"]
    moved: dict[Variable, Array] = {}
    unbiased = variance * count / max(count - 1, 1)
    for average, batch in ((moving_mean, mean), (moving_variance, unbiased)):
        moving = tensors[average]
        assert isinstance(moving, Variable)
        moved[moving] = np.asarray(decay * moving.value + (1 - decay) * batch, moving.value.dtype)
    return moved


class NeutralOptimizer(Optimizer):
    """An OptimizerSpec as an optimizer of the toy engine."""

    def __init__(self, spec: OptimizerSpec) -> None:
        super().__init__(spec.learning_rate)
        self._spec = spec
        self.slots = {slot.suffix: slot.initial for slot in spec.slots}
        self.scalars = dict(spec.scalars)

    def update(self, value: Array, gradient: Array, slots: Mapping[str, Array], step: int) -> Array:
        """Returns the variable's next value and changes the slots in place."""
        roles = {slot.role: slots[slot.suffix] for slot in self._spec.slots}
        scalars = {name: slots[name] for name in self.scalars}
        value = update_variable(self._spec, value, gradient, roles, scalars=scalars, step=step)
        for slot in self._spec.slots:
            slots[slot.suffix][...] = roles[slot.role]
        return value

    def finish(self, scalars: Mapping[str, Array]) -> None:
        """Moves on the state of the optimizer as a whole, in place."""
        for name, moved in next_scalars(self._spec, scalars).items():
            scalars[name][...] = moved
