"""Tracing: one call of a neutral model_fn gives a graph and a ModelSpec of its tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mox_core.errors import SpecError
from mox_core.nn.graph import Graph, VariableStore
from mox_core.nn.lowering import monitored
from mox_core.nn.tensor import Shape, Tensor
from mox_core.spec import Mode, ModelSpec, not_scalar_error

__all__ = ["FunctionTrace", "InputSpec", "Trace", "trace", "trace_function"]


@dataclass(frozen=True)
class InputSpec:
    """What an input of a model looks like.

    Args:
        shape: the first size is None for a batch of any size.
        dtype: such as `"float32"`.
    """

    shape: Shape
    dtype: str


@dataclass(frozen=True)
class Trace:
    """What a call of model_fn has built.

    Args:
        graph: all operations.
        inputs: position or name -> the tensor that model_fn got.
        spec: what it returned, checked; it holds tensors of the graph.
    """

    graph: Graph
    inputs: Mapping[Any, Tensor]
    spec: ModelSpec


@dataclass(frozen=True)
class FunctionTrace:
    """What a call of a neutral function has built.

    Args:
        graph: all operations.
        inputs: the tensors that it got.
        returned: what it returned, tensors of the graph.
    """

    graph: Graph
    inputs: tuple[Tensor, ...]
    returned: Any


def trace_function(
    function: Callable[..., Any],
    inputs: Sequence[InputSpec],
    mode: Mode,
    *,
    store: VariableStore,
    scope: str = "",
) -> FunctionTrace:
    """Calls a neutral function, such as a network of the zoo that a native script uses.

    Args:
        function: `function(*tensors)`.
        inputs: what its arguments look like.
        mode: the run mode.
        store: the variables that its traces share.
        scope: goes before the names of its variables.

    Raises:
        SpecError: a layer does not fit.
    """
    graph = Graph(mode, store)
    tensors = tuple(
        graph.input(f"input_{number}", one.shape, one.dtype) for number, one in enumerate(inputs)
    )
    with graph.active(), graph.variable_scope(scope):
        returned = function(*tensors)
    return FunctionTrace(graph, tensors, returned)


def trace(
    model_fn: Callable[..., Any],
    inputs: Mapping[Any, InputSpec],
    mode: Mode,
    *,
    store: VariableStore | None = None,
) -> Trace:
    """Calls a neutral model_fn, as one tower.

    Args:
        model_fn: `model_fn(inputs, mode)`; it gets a list, or a dict when the inputs have names.
        inputs: position or name -> what it looks like.
        mode: the run mode.
        store: the variables of the program, shared by all its traces.

    Raises:
        SpecError: a layer or what model_fn returned does not fit.
    """
    graph = Graph(mode, store if store is not None else VariableStore())
    tensors = {
        key: graph.input(key if isinstance(key, str) else f"input_{key}", one.shape, one.dtype)
        for key, one in inputs.items()
    }
    named = any(isinstance(key, str) for key in tensors)
    with graph.active():
        returned = model_fn(dict(tensors) if named else list(tensors.values()), mode)
    spec = ModelSpec.require(returned, mode)
    _check(spec, graph, mode)
    return Trace(graph, tensors, spec)


def _check(spec: ModelSpec, graph: Graph, mode: Mode) -> None:
    for index, loss in enumerate(spec.losses):
        where = f"ModelSpec.loss[{index}]" if len(spec.losses) > 1 else "ModelSpec.loss"
        _check_tensor(where, loss, graph)
        if loss.shape:
            raise not_scalar_error(where.partition(".")[2], loss.shape, mode)
    for name, value in (spec.log_info or {}).items():
        _check_tensor(f"ModelSpec.log_info[{name!r}]", value, graph)
        if value.shape:
            raise not_scalar_error(f"log_info[{name!r}]", value.shape, mode)
    for name, value in (spec.output_info or {}).items():
        _check_tensor(f"ModelSpec.output_info[{name!r}]", value, graph)
    for hook in spec.hooks or ():
        for name, value in monitored(hook).items():
            _check_tensor(f"hooks: monitor_info[{name!r}]", value, graph)
            if value.shape:
                raise not_scalar_error(f"hooks: monitor_info[{name!r}]", value.shape, mode)
    if spec.export_spec is not None:
        for field in ("inputs_dict", "outputs_dict"):
            for name, value in getattr(spec.export_spec, field).items():
                _check_tensor(f"ExportSpec.{field}[{name!r}]", value, graph)


def _check_tensor(where: str, value: Any, graph: Graph) -> None:
    if not isinstance(value, Tensor):
        raise SpecError(
            f"{where} is a {type(value).__module__}.{type(value).__qualname__}; a neutral model_fn "
            "returns nn.Tensors.\n  Build it with mox.nn from the inputs."
        )
    if not graph.owns(value):
        raise SpecError(
            f"{where} ({value.name}) belongs to another call of model_fn.\n"
            "  Keep no tensors between calls; make them anew."
        )
