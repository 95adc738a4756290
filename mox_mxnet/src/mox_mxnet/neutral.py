"""Neutral model functions: traced once per tower and mode, then run as MXNet symbols."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mox_core import nn
from mox_core.errors import SpecError
from mox_core.nn.lowering import (
    CONV,
    DENSE,
    DEPTHWISE,
    LOGICAL,
    batch_norm_updates,
    kernel_layouts,
    map_spec,
    ordered,
    spec_tensors,
    trained_variables,
    variable_uses,
)
from mox_core.nn.tensor import Tensor
from mox_core.nn.tracing import InputSpec, Trace
from mox_core.spec import Mode, ModeKeys, ModelSpec
from mox_core.wording import counted
from mox_mxnet.arithmetic import move_towards
from mox_mxnet.importing import load
from mox_mxnet.inputs import check_samples, placed, samples_of
from mox_mxnet.model import ModelCall
from mox_mxnet.nn_graph import Lowered, lower_graph
from mox_mxnet.nn_symbols import native_dtype
from mox_mxnet.variables import Convert, Variable

__all__ = ["NeutralModel", "conversions"]

mx = load()
nd = mx.nd

Batch = Mapping[Any, Any]


class NeutralModel:
    """A neutral model_fn, with the interface of `NativeModel`.

    Args:
        model_fn: the user's function.
        contexts: that of each tower.
        trainable: name -> whether the flags let a variable be trained.
    """

    def __init__(
        self,
        model_fn: Callable[..., Any],
        contexts: list[Any],
        trainable: Callable[[str], bool],
    ) -> None:
        self._model_fn = model_fn
        self._contexts = contexts
        self._trainable = trainable
        self._store = nn.VariableStore()
        self._layouts: dict[str, str] = {}
        self._traces: dict[tuple[Mode, int], Trace] = {}
        self._functions: dict[Any, _Function] = {}
        self.variables: dict[str, Variable] = {}

    def trace(self, specs: Mapping[Any, InputSpec], mode: Mode) -> Trace:
        """Calls model_fn for every tower, unless that is done; returns the first one's trace."""
        for tower in range(len(self._contexts) if mode != ModeKeys.EXPORT else 1):
            if (mode, tower) not in self._traces:
                found = nn.trace(self._model_fn, specs, mode, store=self._store)
                self._traces[mode, tower] = found
                self._store.frozen = True
                self._make_variables(found)
        return self._traces[mode, 0]

    def freeze(self) -> list[Variable]:
        """Ends the first calls: nothing new from now on."""
        self._store.frozen = True
        return list(self.variables.values())

    def trained(self, index: int) -> list[Variable]:
        """What loss number `index` updates."""
        spec = self._traces[ModeKeys.TRAIN, 0].spec
        found = [self.variables[one.name] for one in trained_variables(spec, index)]
        return [one for one in found if one.trainable]

    def __call__(
        self, batch: Batch, mode: Mode, *, tower: int = 0, losses_only: bool = False
    ) -> ModelCall:
        """Computes a step; see `NativeModel`."""
        trace = self._traces[mode, tower]
        if losses_only:
            wanted = tuple(trace.spec.losses)
        else:
            wanted = tuple(
                dict.fromkeys(
                    spec_tensors(
                        replace(trace.spec, hooks=None, output_dict=None, export_spec=None)
                    )
                )
            )
        moves = mode == ModeKeys.TRAIN and tower == 0
        # The rare steps at which somebody looks use memory that others may have in between.
        static = losses_only or mode != ModeKeys.TRAIN
        function = self._function(trace, mode, tower, wanted, moves=moves, static=static)
        values, after = function(batch)
        if losses_only:
            losses = [values[loss] for loss in trace.spec.losses]
            several = isinstance(trace.spec.loss, (list, tuple))
            spec = ModelSpec(loss=losses if several else losses[0])
        else:
            spec = map_spec(replace(trace.spec, export_spec=None), values.__getitem__)
        info = trace.spec.output_info or {}
        scalars = frozenset(name for name, tensor in info.items() if not tensor.rank)
        return ModelCall(samples_of(batch), spec, after, scalars)

    def evaluator(self, mode: Mode, values: Mapping[str, Any]) -> Callable[[Batch], dict[str, Any]]:
        """Returns a function: batch -> arrays of `values`, which are tensors of this mode's model.

        Raises:
            SpecError: one is a tensor of another call.
        """
        trace = self._traces[mode, 0]
        tensors = {name: one for name, one in values.items() if isinstance(one, Tensor)}
        for name, tensor in tensors.items():
            if not trace.graph.owns(tensor):
                raise SpecError(
                    f"hooks: monitor_info[{name!r}] belongs to another call of model_fn.\n"
                    "  Make the hook in model_fn, of the tensors made there."
                )
        wanted = tuple(dict.fromkeys(tensors.values()))
        function = self._function(trace, mode, 0, wanted, moves=False, static=True)

        def evaluate(batch: Batch) -> dict[str, Any]:
            found, _ = function(batch)
            return {name: found[one] if name in tensors else one for name, one in values.items()}

        return evaluate

    def lowered(self, targets: Sequence[Tensor], names: Mapping[str, Tensor]) -> Lowered:
        """The symbol of some tensors of mode EXPORT, whose inputs have these names."""
        return lower_graph(targets, names, self._layouts)

    def _function(
        self,
        trace: Trace,
        mode: Mode,
        tower: int,
        wanted: tuple[Tensor, ...],
        *,
        moves: bool,
        static: bool,
    ) -> _Function:
        key = (wanted, moves)
        function = self._functions.get(key)
        if function is None:
            function = self._functions[key] = _Function(
                trace,
                mode,
                wanted,
                self._layouts,
                self.variables,
                (tower, self._contexts[tower]),
                moves=moves,
                static=static,
            )
        return function

    def _make_variables(self, trace: Trace) -> None:
        layouts = kernel_layouts(variable_uses(ordered(spec_tensors(trace.spec))))
        for name, variable in trace.graph.variables.items():
            if name in self.variables:
                continue
            layout = self._layouts[name] = layouts.get(name, LOGICAL)
            shape = tuple(size for size in variable.shape if size is not None)
            to_saved, from_saved = conversions(layout, shape)
            value = np.asarray(nn.initial_value(variable))
            native = np.ascontiguousarray(from_saved(value), native_dtype(variable.dtype))
            native = native.reshape(native.shape or (1,))
            arrays = [placed(native, context) for context in self._contexts]
            trained = variable.trainable and self._trainable(name)
            self.variables[name] = Variable(name, shape, arrays, trained, to_saved, from_saved)


@dataclass(frozen=True)
class _Move:
    """Moving averages of one batch normalization, and places of its statistics."""

    mean: Any
    variance: Any
    decay: float
    rows: tuple[int | None, ...]


class _Function:
    """Some tensors of a trace as a function of a batch, in one context."""

    def __init__(
        self,
        trace: Trace,
        mode: Mode,
        wanted: tuple[Tensor, ...],
        layouts: Mapping[str, str],
        variables: Mapping[str, Variable],
        place: tuple[int, Any],
        *,
        moves: bool,
        static: bool,
    ) -> None:
        tower, self._context = place
        self._mode = mode
        self._inputs = dict(trace.inputs)
        self._given = [one for one in wanted if one.op == "input"]
        self._targets = [one for one in wanted if one.op != "input"]
        moved = batch_norm_updates(trace.graph) if moves else []
        names = {f"input:{number}": one for number, one in enumerate(self._inputs.values())}
        training = mode == ModeKeys.TRAIN
        made = lower_graph(
            self._targets,
            names,
            layouts,
            losses=trace.spec.losses if training else (),
            moved=moved,
        )
        self._trains = made.trains and not training
        self._moves = [
            _Move(
                variables[one.mean].arrays[tower],
                variables[one.variance].arrays[tower],
                one.decay,
                one.rows,
            )
            for one in made.moved
        ]
        flags = [("static_alloc", static), ("static_shape", static)]
        self._operation = nd.CachedOp(made.symbol, flags) if made.symbol is not None else None
        listed = made.symbol.list_inputs() if made.symbol is not None else []
        self._arguments: list[Any] = []
        self._places: dict[int, int] = {}  # place among the inputs -> place of the argument
        for place_of, name in enumerate(listed):
            if name in names:
                self._places[int(name.removeprefix("input:"))] = place_of
                self._arguments.append(None)
            elif name in variables:
                self._arguments.append(variables[name].arrays[tower])
            elif name in made.constants:
                array = made.constants[name]
                self._arguments.append(placed(array, self._context))
            else:
                shape, dtype = made.unused[name]
                self._arguments.append(nd.ones(shape, ctx=self._context, dtype=dtype))

    def __call__(self, batch: Batch) -> tuple[dict[Tensor, Any], Callable[[], None] | None]:
        """Computes.

        Returns:
            Tensor -> array, and what moves the averages afterwards.
        """
        arrays = self._placed(batch)
        arguments = list(self._arguments)
        for number, place in self._places.items():
            arguments[place] = arrays[number]
        if self._operation is None:
            made: list[Any] = []
        elif self._trains:
            with mx.autograd.train_mode():
                made = self._operation(*arguments)
        else:
            made = self._operation(*arguments)
        made = made if isinstance(made, (list, tuple)) else [made]
        values = dict(zip(self._targets, made, strict=False))
        if self._given:
            by_tensor = dict(zip(self._inputs.values(), arrays, strict=True))
            values.update({one: by_tensor[one] for one in self._given})
        if not self._moves:
            return values, None
        statistics = made[len(self._targets) :]
        first = next(iter(batch.values()))
        return values, lambda: self._move(statistics, first.shape[0] if first.shape else 1)

    def _move(self, statistics: list[Any], batch: int) -> None:
        """Moves the averages: with the unbiased variance."""
        targets, shares = [], []
        for one in self._moves:
            rows = math.prod(batch if size is None else size for size in one.rows)
            targets += [one.mean, one.variance]
            shares += [(1 - one.decay, 1.0), (1 - one.decay, rows / max(rows - 1, 1))]
        move_towards(targets, statistics, shares)

    def _placed(self, batch: Batch) -> list[Any]:
        check_samples(batch, self._mode)
        if len(batch) != len(self._inputs):
            raise SpecError(
                f"a batch has {counted(len(batch), 'input')}, and the model was built for "
                f"{len(self._inputs)}.\n  Give the same inputs in every batch."
            )
        arrays = []
        for key, tensor in self._inputs.items():
            given = batch[key]
            if tuple(given.shape[1:]) != tensor.shape[1:]:
                raise SpecError(
                    f"{tensor.name} has shape {tuple(given.shape)}, and the model was built for "
                    f"{tensor.shape}.\n  Give all batches the same sizes but the first."
                )
            arrays.append(placed(given, self._context))
        return arrays


def conversions(layout: str, shape: tuple[int, ...]) -> tuple[Convert, Convert]:
    """From MXNet's layout to that of checkpoints, and back."""
    if layout == CONV:
        return lambda native: native.transpose(2, 3, 1, 0), lambda saved: saved.transpose(
            3, 2, 0, 1
        )
    if layout == DENSE:
        return lambda native: native.T, lambda saved: saved.T
    if layout == DEPTHWISE:
        height, width, channels, multiplier = shape
        apart = (channels, multiplier, height, width)
        together = (channels * multiplier, 1, height, width)
        return (
            lambda native: native.reshape(apart).transpose(2, 3, 0, 1),
            lambda saved: saved.transpose(2, 3, 0, 1).reshape(together),
        )
    return lambda native: native, lambda saved: saved
