"""The toy engine's export format: a list of operations in JSON and their arrays beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from mox_core.errors import ExportError
from mox_core.spec import ExportSpec
from mox_core.testing.toy_nn import OPERATIONS, Array, Tensor, Variable, in_order

__all__ = ["export_toy_npz", "load_exported"]


def export_toy_npz(spec: ExportSpec, model_inputs: dict[Any, Tensor], directory: str) -> None:
    """Writes `model.json` and `arrays.npz` into `directory`.

    Args:
        spec: which tensors go in and come out.
        model_inputs: the tensors that model_fn was called with.
        directory: made when it does not exist.

    Raises:
        ExportError: an output depends on an input that the spec does not name.
    """
    inputs, outputs = spec.inputs_dict, spec.outputs_dict
    order = [*inputs.values(), *in_order(outputs.values(), stop_at=inputs.values())]
    for key, tensor in model_inputs.items():
        if tensor in order and tensor not in inputs.values():
            raise ExportError(
                f"an output of ExportSpec depends on inputs[{key!r}], which inputs_dict lacks.\n"
                "  Add it to ExportSpec.inputs_dict, or choose other outputs."
            )
    numbers = {tensor: number for number, tensor in enumerate(order)}
    given = {tensor: name for name, tensor in inputs.items()}
    nodes: list[dict[str, Any]] = []
    arrays: dict[str, Array] = {}
    for number, tensor in enumerate(order):
        if tensor in given:
            nodes.append({"input": given[tensor]})
        elif tensor.operation:
            parents = [None if parent is None else numbers[parent] for parent in tensor.parents]
            nodes.append(
                {"operation": tensor.operation, "of": parents, "attrs": dict(tensor.attrs)}
            )
        else:
            arrays[str(number)] = tensor.value
            name = tensor.name if isinstance(tensor, Variable) else None
            nodes.append({"array": str(number), "name": name})
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "arrays.npz"), "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # its other keyword is allow_pickle
    signature = {name: numbers[tensor] for name, tensor in outputs.items()}
    with open(os.path.join(directory, "model.json"), "w", encoding="utf-8") as text:
        json.dump({"nodes": nodes, "outputs": signature}, text, indent=1)


def load_exported(directory: str) -> Callable[..., dict[str, Array]]:
    """Returns an exported model as a function: inputs by keyword -> name -> output array."""
    with open(os.path.join(directory, "model.json"), encoding="utf-8") as file:
        model = json.load(file)
    with np.load(os.path.join(directory, "arrays.npz")) as archive:
        arrays = dict(archive)

    def run(**inputs: Any) -> dict[str, Array]:
        values: list[Array] = []
        for node in model["nodes"]:
            if "input" in node:
                values.append(np.asarray(inputs[node["input"]]))
            elif "array" in node:
                values.append(arrays[node["array"]])
            else:
                forward = OPERATIONS[node["operation"]].forward
                arguments = [None if index is None else values[index] for index in node["of"]]
                values.append(np.asarray(forward(*arguments, **_tuples(node["attrs"]))))
        return {name: values[number] for name, number in model["outputs"].items()}

    return run


def _tuples(value: Any) -> Any:
    """JSON has lists where the operations take tuples."""
    if isinstance(value, dict):
        return {key: _tuples(one) for key, one in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
