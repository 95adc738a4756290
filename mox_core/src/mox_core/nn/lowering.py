"""What engines need to turn a graph into native code.

An engine keeps a table from the names of `OPERATIONS` to native functions, called as
`function(*inputs, **attrs)`, and makes native variables out of `Trace.graph.variables`. `lower`
then does the rest for engines whose functions build a graph or compute at once; an engine that
writes code instead walks the tensors of `ordered`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mox_core.nn.graph import Graph
from mox_core.nn.operations import OPERATIONS
from mox_core.nn.tensor import FLOATS, Tensor, Variable
from mox_core.patterns import in_scopes
from mox_core.spec import ExportSpec, ModelSpec
from mox_core.spec_rules import nothing_to_train_error

__all__ = [
    "CONV",
    "DENSE",
    "DEPTHWISE",
    "LOGICAL",
    "batch_norm_updates",
    "kernel_layouts",
    "lower",
    "map_spec",
    "monitored",
    "ordered",
    "spec_tensors",
    "table_problems",
    "trained_variables",
    "variable_uses",
]

Table = Mapping[str, Callable[..., Any]]


def ordered(targets: Iterable[Tensor]) -> list[Tensor]:
    """Lists `targets` and all that they are made of, inputs first.

    Works without recursion, so that a graph may be as deep as it likes.
    """
    done: set[Tensor] = set()
    order: list[Tensor] = []
    stack = [(tensor, False) for tensor in reversed(list(targets))]
    while stack:
        tensor, inputs_done = stack.pop()
        if tensor in done:
            continue
        if inputs_done:
            done.add(tensor)
            order.append(tensor)
        else:
            stack.append((tensor, True))
            stack += [(one, False) for one in reversed(tensor.inputs) if one is not None]
    return order


def lower(
    targets: Iterable[Tensor],
    given: Mapping[Tensor, Any],
    call: Callable[[Tensor, Sequence[Any]], Any],
) -> dict[Tensor, Any]:
    """Computes native values of `targets` and all that they need.

    Args:
        targets: what is wanted.
        given: native inputs and variables.
        call: (tensor, native inputs) -> native value; for an engine with a table
            `lambda tensor, inputs: table[tensor.op](*inputs, **tensor.attrs)`.

    Returns:
        Tensor -> native value; also all of `given`.
    """
    values = dict(given)
    for tensor in ordered(targets):
        if tensor not in values:
            inputs = [None if one is None else values[one] for one in tensor.inputs]
            values[tensor] = call(tensor, inputs)
    return values


def spec_tensors(spec: ModelSpec) -> list[Tensor]:
    """All tensors of a ModelSpec: losses, log_info, output_info, export_spec, monitor_info."""
    found: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    map_spec(spec, keep)
    for hook in spec.hooks or ():
        found += [one for one in monitored(hook).values() if isinstance(one, Tensor)]
    return found


def monitored(hook: object) -> Mapping[str, Any]:
    """`monitor_info` of a hook that evaluates; empty for others."""
    info = getattr(hook, "monitor_info", None)
    return info if isinstance(info, Mapping) else {}


def map_spec(spec: ModelSpec, native: Callable[[Tensor], Any]) -> ModelSpec:
    """Returns a ModelSpec with native tensors in the place of neutral ones; hooks stay."""

    def mapped(tensors: Mapping[str, Any] | None) -> dict[str, Any] | None:
        return None if tensors is None else {key: native(one) for key, one in tensors.items()}

    losses = [native(loss) for loss in spec.losses]
    several = isinstance(spec.loss, (list, tuple))
    export = spec.export_spec
    return replace(
        spec,
        loss=losses if several else (losses[0] if losses else None),
        log_info=mapped(spec.log_info),
        output_info=mapped(spec.output_info),
        output_dict=None,
        export_spec=export
        and ExportSpec(
            mapped(export.inputs_dict) or {}, mapped(export.outputs_dict) or {}, export.version
        ),
    )


def batch_norm_updates(graph: Graph) -> list[Tensor]:
    """The batch normalizations whose moving averages a training step of this graph moves."""
    return [one for one in graph.tensors if one.op == "batch_norm" and one.attrs["training"]]


def trained_variables(spec: ModelSpec, index: int) -> list[Variable]:
    """The variables that loss number `index` updates, in the order in which it needs them.

    These are the trainable ones that its gradient reaches, within the scopes of
    `ModelSpec.var_scopes`.

    Raises:
        SpecError: there are none.
    """
    loss = spec.losses[index]
    scopes = spec.scopes_of(index)
    reached: set[Tensor] = {loss}
    found = []
    for tensor in reversed(ordered([loss])):
        if tensor not in reached:
            continue
        if isinstance(tensor, Variable):
            if tensor.trainable and in_scopes(tensor.name, scopes):
                found.append(tensor)
        elif OPERATIONS[tensor.op].gradient:
            reached.update(one for one in tensor.inputs if one is not None and one.dtype in FLOATS)
    if not found:
        raise nothing_to_train_error(spec, index)
    return found[::-1]


def variable_uses(tensors: Iterable[Tensor]) -> dict[Variable, set[tuple[str, str]]]:
    """How variables are used, for engines that keep weights in a layout of their own.

    Returns:
        Variable -> {(operation, name of its input)}, such as {("conv2d", "weights")}. Operations
        that may read elements in any order (`l2_loss`) do not count.
    """
    uses: dict[Variable, set[tuple[str, str]]] = {}
    for tensor in tensors:
        if isinstance(tensor, Variable):
            uses.setdefault(tensor, set())
        operation = OPERATIONS[tensor.op]
        if operation.layout_free:
            continue
        for position, one in enumerate(tensor.inputs):
            if isinstance(one, Variable):
                name = operation.inputs[min(position, len(operation.inputs) - 1)]
                uses.setdefault(one, set()).add((tensor.op, name.strip("?*")))
    return uses


LOGICAL, CONV, DEPTHWISE, DENSE = "logical", "conv", "depthwise", "dense"
"""How an engine may keep a variable in memory: as the graph says, or for the operation that uses
it. Those of PyTorch and MXNet are OIHW, [channels * m, 1, H, W] and [out, in]."""


def kernel_layouts(uses: Mapping[Variable, set[tuple[str, str]]]) -> dict[str, str]:
    """Variable name -> layout, from how a graph uses its variables (see `variable_uses`).

    Variables that several operations use in different ways stay as the graph says.
    """
    wanted = {
        frozenset({("conv2d", "weights")}): CONV,
        frozenset({("depthwise_conv2d", "weights")}): DEPTHWISE,
        frozenset({("dense", "weights")}): DENSE,
    }
    return {one.name: wanted.get(frozenset(use), LOGICAL) for one, use in uses.items()}


def table_problems(table: Table) -> list[str]:
    """Compares an engine's table with `OPERATIONS`; empty when all is there and fits.

    `input` and `variable` are not functions, and need not be in the table.
    """
    problems = []
    for name, operation in OPERATIONS.items():
        if name in ("input", "variable"):
            continue
        function = table.get(name)
        if function is None:
            problems.append(f"{name} is missing")
            continue
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):  # built-in functions have none
            continue
        try:
            signature.bind(*operation.inputs, **dict.fromkeys(operation.attrs))
        except TypeError as error:
            called = ", ".join([*operation.inputs, *(f"{attr}=" for attr in operation.attrs)])
            problems.append(f"{name} is called as {name}({called}): {error}")
    return problems + [f"{name} is no operation" for name in table if name not in OPERATIONS]
