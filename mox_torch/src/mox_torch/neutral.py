"""Neutral model functions: traced once per mode, then run as native code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from mox_core import nn
from mox_core.errors import SpecError
from mox_core.nn.lowering import batch_norm_updates, map_spec, spec_tensors
from mox_core.nn.tensor import Tensor
from mox_core.nn.tracing import InputSpec, Trace
from mox_core.spec import Mode, ModeKeys, ModelSpec
from mox_torch.inputs import Batch
from mox_torch.neutral_variables import NeutralVariables
from mox_torch.nn_code import compile_graph
from mox_torch.store import VariableStore

__all__ = ["NeutralModel", "input_spec"]

Values = dict[Tensor, torch.Tensor]


class NeutralModel:
    """A neutral model_fn as a native one: call it with batches, it returns native ModelSpecs.

    Args:
        model_fn: the user's function.
        store: gets the variables.
    """

    def __init__(self, model_fn: Callable[..., Any], store: VariableStore) -> None:
        self._model_fn = model_fn
        self._store = store
        self._variables = NeutralVariables(store)
        self._traces: dict[Mode, Trace] = {}
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
            self._functions[targets] = self._store.compiled(
                compile_graph(targets, inputs, self._variables.layouts, self._store.device)
            )
        return _Computation(trace, targets, self._functions[targets], update)

    def _compute(self, computation: _Computation, batch: Batch) -> Values:
        trace = computation.trace
        inputs = batch
        if isinstance(batch, dict):
            inputs = [batch[name] for name in trace.inputs if name in batch]
        shapes = [given.shape[1:] for given in inputs]
        if shapes != computation.shapes:
            raise _shapes_error(trace, inputs)
        native = self._variables.native(traced=trace.graph.mode == ModeKeys.EXPORT)
        computed = computation.function(native, computation.update, *inputs)
        values = dict(zip(trace.inputs.values(), inputs, strict=True))
        values.update(zip(computation.targets, computed, strict=True))
        return values

    def _trace(self, batch: Batch, mode: Mode) -> Trace:
        trace = self._traces.get(mode)
        if trace is None:
            items = batch.items() if isinstance(batch, dict) else enumerate(batch)
            specs = {key: input_spec(tensor) for key, tensor in items}
            trace = nn.trace(self._model_fn, specs, mode, store=self._variables.declared)
            self._variables.adopt(trace.graph, spec_tensors(trace.spec))
            self._variables.declared.frozen = True
            self._traces[mode] = trace
        return trace


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


def input_spec(tensor: torch.Tensor) -> InputSpec:
    """What a graph has to know of an input; its batch may have any size."""
    shape = (None, *tensor.shape[1:]) if tensor.dim() else ()
    return InputSpec(shape, str(tensor.dtype).removeprefix("torch."))
