"""Neutral model functions: traced once per mode, then run as native code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from mox_core import nn
from mox_core.errors import SpecError
from mox_core.nn.lowering import batch_norm_updates, map_spec, spec_tensors
from mox_core.nn.tensor import Tensor
from mox_core.nn.tracing import InputSpec, Trace
from mox_core.spec import Mode, ModeKeys, ModelSpec
from mox_core.wording import counted
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
        if losses_only and computation.loss is not None:
            return ModelSpec(loss=self._computed(computation, batch)[1][computation.loss])
        values = self._compute(computation, batch)
        spec = computation.trace.spec
        if losses_only:
            return ModelSpec(loss=[values[loss] for loss in spec.losses])
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
        return _Computation(trace, targets, self._functions[targets], update=update)

    def _computed(
        self, computation: _Computation, batch: Batch
    ) -> tuple[Sequence[torch.Tensor], Sequence[torch.Tensor]]:
        """The inputs in their order, and the targets."""
        inputs = batch
        if isinstance(batch, dict):
            inputs = [batch[name] for name in computation.trace.inputs if name in batch]
        exported = computation.exported  # with sizes that are not known yet
        if exported or [given.shape for given in inputs] not in computation.known_shapes:
            computation.check_shapes(inputs)
        native = self._variables.native(traced=exported)
        return inputs, computation.function(native, computation.update, *inputs)

    def _compute(self, computation: _Computation, batch: Batch) -> Values:
        inputs, computed = self._computed(computation, batch)
        values = dict(zip(computation.trace.inputs.values(), inputs, strict=True))
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


class _Computation:
    """The code for what is wanted of a trace.

    Args:
        trace: the model.
        targets: what `function` returns, in this order.
        function: of variables by name, `update`, and the inputs.
        update: whether averages of batch normalizations are moved.

    Attributes:
        loss: the place of the model's only loss among the targets; None where there is no such.
        exported: whether it is that of an exported model.
        known_shapes: of inputs that fit; few, as all batches but the last have one size.
    """

    def __init__(
        self,
        trace: Trace,
        targets: tuple[Tensor, ...],
        function: Callable[..., Any],
        *,
        update: bool,
    ) -> None:
        self.trace = trace
        self.targets = targets
        self.function = function
        self.update = update
        only = trace.spec.loss
        self.loss = targets.index(only) if isinstance(only, Tensor) and only in targets else None
        self.exported = trace.graph.mode == ModeKeys.EXPORT
        self.known_shapes: list[list[torch.Size]] = []

    def check_shapes(self, inputs: Sequence[torch.Tensor]) -> None:
        """Compares the inputs with those that the model was built for.

        Raises:
            SpecError: they differ in more than the batch.
        """
        wanted = [tensor.shape[1:] for tensor in self.trace.inputs.values()]
        if [given.shape[1:] for given in inputs] != wanted:
            raise _shapes_error(self.trace, inputs)
        if not self.exported:
            self.known_shapes = [*self.known_shapes[-3:], [given.shape for given in inputs]]


def _seen_in_a_step(spec: ModelSpec) -> list[Tensor]:
    return spec_tensors(replace(spec, hooks=None, output_dict=None))


def _shapes_error(trace: Trace, inputs: Sequence[torch.Tensor]) -> SpecError:
    for (key, tensor), given in zip(trace.inputs.items(), inputs, strict=False):
        if tuple(given.shape[1:]) != tensor.shape[1:]:
            return SpecError(
                f"inputs[{key!r}] of a later batch of input_fn({trace.graph.mode!s}) has shape "
                f"{tuple(given.shape)}; the model was built for {tensor.shape}.\n"
                "  Give all batches the same sizes but the first."
            )
    return SpecError(
        f"a batch has {counted(len(inputs), 'input')}, and the model was built for "
        f"{len(trace.inputs)}.\n"
        "  Give the same inputs in every batch."
    )


def input_spec(tensor: torch.Tensor) -> InputSpec:
    """What a graph has to know of an input; its batch may have any size."""
    shape = (None, *tensor.shape[1:]) if tensor.dim() else ()
    return InputSpec(shape, str(tensor.dtype).removeprefix("torch."))
