"""Neutral model functions: traced once per mode, then run as native code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from mox_core import nn
from mox_core.errors import SpecError
from mox_core.nn.lowering import (
    batch_norm_updates,
    map_spec,
    ordered,
    spec_tensors,
    variable_uses,
)
from mox_core.nn.tensor import Tensor, Variable
from mox_core.nn.tracing import InputSpec, Trace
from mox_core.spec import Mode, ModeKeys, ModelSpec
from mox_torch.inputs import Batch
from mox_torch.nn_code import (
    CONV,
    DENSE,
    DEPTHWISE,
    LOGICAL,
    compile_graph,
    kernel_layouts,
)
from mox_torch.store import VariableStore

__all__ = ["NeutralModel"]

Values = dict[Tensor, torch.Tensor]


class NeutralModel:
    """A neutral model_fn as a native one: call it with batches, it returns native ModelSpecs.

    Args:
        model_fn: the user's function.
        store: gets the variables.
        device: where the model runs.
        compiled: whether `torch.compile` compiles the generated code.
    """

    def __init__(
        self,
        model_fn: Callable[..., Any],
        store: VariableStore,
        device: torch.device,
        *,
        compiled: bool = False,
    ) -> None:
        self._model_fn = model_fn
        self._store = store
        self._device = device
        self._compiled = compiled
        self._variables = nn.VariableStore()
        self._layouts: dict[str, str] = {}
        self._traces: dict[Mode, Trace] = {}
        self._native: dict[str, torch.Tensor] = {}
        self._functions: dict[tuple[Tensor, ...], Callable[..., Any]] = {}
        self._computations: dict[tuple[Mode, bool, bool], _Computation] = {}

    def __call__(
        self, batch: Batch, mode: Mode, *, losses_only: bool = False, update: bool = True
    ) -> ModelSpec:
        """Computes a step.

        Args:
            batch: the inputs.
            mode: the run mode.
            losses_only: leave out what is only looked at.
            update: move the averages of batch normalizations in TRAIN.
        """
        key = (mode, losses_only, update)
        computation = self._computations.get(key)
        if computation is None:
            trace = self._trace(batch, mode)
            seen = trace.spec.losses if losses_only else _seen_in_a_step(trace.spec)
            computation = self._computations[key] = self._computation(trace, seen, update=update)
        values = self._compute(computation, batch)
        spec = computation.trace.spec
        if losses_only:
            losses = [values[loss] for loss in spec.losses]
            return ModelSpec(loss=losses if isinstance(spec.loss, (list, tuple)) else losses[0])
        return map_spec(spec, values.__getitem__)

    def evaluator(
        self, batch: Batch, mode: Mode, values: Mapping[str, Any]
    ) -> Callable[[Batch], dict[str, Any]]:
        """Returns a function: batch -> native `values`, which are tensors of this mode's model.

        Raises:
            SpecError: one is a tensor of another call.
        """
        trace = self._trace(batch, mode)
        tensors = {name: one for name, one in values.items() if isinstance(one, Tensor)}
        for name, tensor in tensors.items():
            if not trace.graph.owns(tensor):
                raise SpecError(
                    f"hooks: monitor_info[{name!r}] belongs to another call of model_fn.\n"
                    "  Make the hook in model_fn, of the tensors made there."
                )

        computation = self._computation(trace, list(tensors.values()), update=False)

        def evaluate(batch: Batch) -> dict[str, Any]:
            found = self._compute(computation, batch)
            return {name: found[one] if name in tensors else one for name, one in values.items()}

        return evaluate

    def _computation(self, trace: Trace, wanted: Sequence[Tensor], *, update: bool) -> _Computation:
        inputs = list(trace.inputs.values())
        moved = batch_norm_updates(trace.graph) if update else []
        given = set(inputs)
        targets = tuple(dict.fromkeys(one for one in (*wanted, *moved) if one not in given))
        if targets not in self._functions:
            function = compile_graph(targets, inputs, self._layouts, self._device)
            self._functions[targets] = torch.compile(function) if self._compiled else function
        return _Computation(trace, targets, self._functions[targets], update)

    def _compute(self, computation: _Computation, batch: Batch) -> Values:
        trace = computation.trace
        inputs = batch
        if isinstance(batch, dict):
            inputs = [batch[name] for name in trace.inputs if name in batch]
        shapes = [given.shape[1:] for given in inputs]
        if shapes != computation.shapes:
            raise _shapes_error(trace, inputs)
        # While torch.export traces, others stand in the places of the variables.
        native = self._all_native() if trace.graph.mode == ModeKeys.EXPORT else self._native
        computed = computation.function(native, computation.update, *inputs)
        values = dict(zip(trace.inputs.values(), inputs, strict=True))
        values.update(zip(computation.targets, computed, strict=True))
        return values

    def _all_native(self) -> dict[str, torch.Tensor]:
        root = self._store.root
        return {**root._parameters, **root._buffers}  # type: ignore[dict-item]

    def _trace(self, batch: Batch, mode: Mode) -> Trace:
        trace = self._traces.get(mode)
        if trace is None:
            items = batch.items() if isinstance(batch, dict) else enumerate(batch)
            specs = {
                key: InputSpec(_any_batch(tensor.shape), str(tensor.dtype).removeprefix("torch."))
                for key, tensor in items
            }
            trace = nn.trace(self._model_fn, specs, mode, store=self._variables)
            self._make_variables(trace)
            self._traces[mode] = trace
        return trace

    def _make_variables(self, trace: Trace) -> None:
        layouts = kernel_layouts(variable_uses(ordered(spec_tensors(trace.spec))))
        for name, variable in trace.graph.variables.items():
            if name not in self._layouts:
                self._layouts[name] = layouts.get(name, LOGICAL)
                self._store.adopt_variable(
                    name,
                    _native(variable, self._layouts[name]),
                    trainable=variable.trainable,
                    view=_view(variable, self._layouts[name]),
                )
        self._native = self._all_native()


@dataclass(frozen=True)
class _Computation:
    """The code for what is wanted of a trace.

    Args:
        trace: the model.
        targets: what `function` returns, in this order.
        function: of variables by name, `update`, and the inputs.
        update: whether averages of batch normalizations are moved.

    Attributes:
        shapes: of the inputs, without the batch.
    """

    trace: Trace
    targets: tuple[Tensor, ...]
    function: Callable[..., Any]
    update: bool

    @cached_property
    def shapes(self) -> list[tuple[int | None, ...]]:
        return [tensor.shape[1:] for tensor in self.trace.inputs.values()]


def _seen_in_a_step(spec: ModelSpec) -> list[Tensor]:
    return spec_tensors(replace(spec, hooks=None, output_dict=None))


def _shapes_error(trace: Trace, inputs: Sequence[torch.Tensor]) -> SpecError:
    for tensor, given in zip(trace.inputs.values(), inputs, strict=False):
        if tuple(given.shape[1:]) != tensor.shape[1:]:
            return SpecError(
                f"{tensor.name} has shape {tuple(given.shape)}, and the model was built for "
                f"{tensor.shape}.\n  Give all batches the same sizes but the first."
            )
    return SpecError(
        f"a batch has {len(inputs)} inputs, and the model was built for {len(trace.inputs)}.\n"
        "  Give the same inputs in every batch."
    )


def _any_batch(shape: torch.Size) -> tuple[int | None, ...]:
    return (None, *shape[1:]) if shape else ()


def _native(variable: Variable, layout: str) -> torch.Tensor:
    value = torch.as_tensor(nn.initial_value(variable)).to(getattr(torch, variable.dtype))
    if layout == CONV:
        value = value.permute(3, 2, 0, 1)
    elif layout == DEPTHWISE:
        value = value.permute(2, 3, 0, 1).flatten(0, 1).unsqueeze(1)
    elif layout == DENSE:
        return value.t().contiguous()
    if layout == LOGICAL:
        return value.clone()
    return value.contiguous(memory_format=torch.channels_last)


def _view(variable: Variable, layout: str) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """Native -> logical layout, as a view that can be written to."""
    if layout == CONV:
        return lambda native: native.permute(2, 3, 1, 0)
    if layout == DENSE:
        return lambda native: native.t()
    if layout == DEPTHWISE:
        sizes = (variable.shape[2], variable.shape[3])
        return lambda native: native.squeeze(1).unflatten(0, sizes).permute(2, 3, 0, 1)  # type: ignore[no-untyped-call]
    return None
