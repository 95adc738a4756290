"""Neutral model functions: traced once per mode, then run as native code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
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
from mox_core.spec import Mode, ModelSpec
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
        self._functions: dict[tuple[Tensor, ...], Callable[..., Any]] = {}

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
        trace = self._trace(batch, mode)
        if losses_only:
            wanted = trace.spec.losses
        else:
            wanted = spec_tensors(replace(trace.spec, hooks=None, output_dict=None))
        values = self._compute(trace, wanted, batch, update=update)
        if losses_only:
            losses = [values[loss] for loss in trace.spec.losses]
            several = isinstance(trace.spec.loss, (list, tuple))
            return ModelSpec(loss=losses if several else losses[0])
        return map_spec(trace.spec, values.__getitem__)

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

        def evaluate(batch: Batch) -> dict[str, Any]:
            found = self._compute(trace, list(tensors.values()), batch, update=False)
            return {name: found[one] if name in tensors else one for name, one in values.items()}

        return evaluate

    def _compute(
        self, trace: Trace, wanted: Sequence[Tensor], batch: Batch, *, update: bool
    ) -> Values:
        inputs = list(batch.values()) if isinstance(batch, dict) else batch
        self._check(trace, inputs)
        given = dict(zip(trace.inputs.values(), inputs, strict=True))
        moved = batch_norm_updates(trace.graph) if update else []
        targets = tuple(dict.fromkeys(one for one in (*wanted, *moved) if one not in given))
        function = self._functions.get(targets)
        if function is None:
            function = compile_graph(
                targets, list(trace.inputs.values()), self._layouts, self._device
            )
            if self._compiled:
                function = torch.compile(function)
            self._functions[targets] = function
        root = self._store.root
        native = function({**root._parameters, **root._buffers}, update, *inputs)
        return {**given, **dict(zip(targets, native, strict=True))}

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

    def _check(self, trace: Trace, inputs: Sequence[torch.Tensor]) -> None:
        if len(inputs) != len(trace.inputs):
            raise SpecError(
                f"a batch has {len(inputs)} inputs, and the model was built for "
                f"{len(trace.inputs)}.\n  Give the same inputs in every batch."
            )
        for tensor, given in zip(trace.inputs.values(), inputs, strict=True):
            if tuple(given.shape[1:]) != tensor.shape[1:]:
                raise SpecError(
                    f"{tensor.name} has shape {tuple(given.shape)}, and the model was built for "
                    f"{tensor.shape}.\n  Give all batches the same sizes but the first."
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
