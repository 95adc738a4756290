"""Exported models: a symbol with its parameters, and ONNX."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mox_core.errors import ExportError
from mox_core.nn.tensor import Tensor
from mox_core.spec import ExportSpec, ModeKeys
from mox_mxnet.importing import load
from mox_mxnet.inputs import Batch, items_of
from mox_mxnet.model import NativeModel
from mox_mxnet.neutral import NeutralModel
from mox_mxnet.nn_symbols import native_dtype
from mox_mxnet.variables import Variable

__all__ = ["FORMATS", "MODEL_PREFIX", "ONNX_FILE", "Exported", "export_model", "zeros_of"]

mx = load()

MODEL_PREFIX = "model"
ONNX_FILE = "model.onnx"


def _has_onnx() -> bool:
    """Whether there is an onnx that MXNet's exporter can use: one before 1.19."""
    return bool(importlib.util.find_spec("onnx") and importlib.util.find_spec("onnx.mapping"))


FORMATS = ("mxnet", "onnx") if _has_onnx() else ("mxnet",)

# Each is the size of no other dimension in most models, so that what depends on it is found.
_EXAMPLE_BATCH = 2


def zeros_of(input_spec: Mapping[Any, Any]) -> Batch:
    """Zeros in the shapes that the run's native inputs had, with a batch of two."""
    batch = next((shape[0] for shape, _ in input_spec.values() if shape), None)
    made = {}
    for key, (shape, dtype) in input_spec.items():
        if shape and shape[0] == batch:
            shape = (_EXAMPLE_BATCH, *shape[1:])
        made[key] = mx.nd.zeros(shape, dtype=np.dtype(dtype))
    named = any(isinstance(key, str) for key in made)
    return made if named else list(made.values())


@dataclass
class Exported:
    """A model that can be written.

    Args:
        symbol: with the inputs' names in the ExportSpec; outputs in its order.
        inputs: name -> (shape with None for the batch, dtype).
        outputs: names.
        parameters: name in the symbol -> array of MXNet.
    """

    symbol: Any
    inputs: dict[str, tuple[tuple[int | None, ...], str]]
    outputs: list[str]
    parameters: dict[str, Any]

    @classmethod
    def of_neutral(
        cls, model: NeutralModel, export: ExportSpec | None, specs: Mapping[Any, Any]
    ) -> Exported:
        """Exports neutral tensors.

        Raises:
            ExportError: an input of the ExportSpec is not one of model_fn's.
        """
        assert export is not None, "ModelSpec.require has checked it"
        trace = model.trace(specs, ModeKeys.EXPORT)
        given = list(trace.inputs.values())
        for name, tensor in export.inputs_dict.items():
            if tensor not in given:
                raise _no_input_error(name)
        targets: list[Tensor] = list(export.outputs_dict.values())
        made = model.lowered(targets, export.inputs_dict)
        symbol = made.symbol
        needed = set(symbol.list_inputs())
        arrays = {name: one.arrays[0] for name, one in model.variables.items() if name in needed}
        for name, value in made.constants.items():
            if name in needed:
                arrays[name] = mx.nd.array(value, dtype=value.dtype)
        for name, (shape, dtype) in made.unused.items():
            arrays[name] = mx.nd.ones(shape, dtype=dtype)
        unknown = needed - set(arrays) - set(export.inputs_dict)
        if unknown:
            raise _needs_more_error(unknown)
        inputs = {
            name: (tuple(one.shape), native_dtype(one.dtype))
            for name, one in export.inputs_dict.items()
        }
        return cls(symbol, inputs, list(export.outputs_dict), arrays)

    @classmethod
    def of_native(
        cls, model: NativeModel, example: Batch, variables: Mapping[str, Variable]
    ) -> Exported:
        """Exports what model_fn computes of an example, as MXNet recorded it.

        Raises:
            ExportError: an input of the ExportSpec is not one of model_fn's, or the outputs are
                not computed from it by operations of MXNet.
        """
        model.unhybridize()
        names: dict[str, str] = {}
        arrays = {name: one.arrays[0] for name, one in variables.items()}
        for name, array in arrays.items():
            names[_recorded_name(array)] = name
        given = dict(items_of(example))
        keys = {_recorded_name(array): key for key, array in given.items()}
        with mx.autograd.record(train_mode=False):
            export = model(example, ModeKeys.EXPORT).spec.export_spec
        assert export is not None
        inputs = {}
        for name, tensor in export.inputs_dict.items():
            key = next((key for key, array in given.items() if array is tensor), None)
            if key is None:
                raise _no_input_error(name)
            recorded = next(one for one, own in keys.items() if own == key)
            names[recorded] = name
            inputs[name] = (_any_batch(tensor.shape), np.dtype(tensor.dtype).name)
        try:
            symbol = mx.sym.Group(
                [mx.autograd.get_symbol(one) for one in export.outputs_dict.values()]
            )
        except mx.MXNetError as error:
            raise ExportError(
                "an output of the ExportSpec is not computed by operations of MXNet.\n"
                "  Leave NumPy out of model_fn when the mode is EXPORT."
            ) from error
        unknown = set(symbol.list_inputs()) - set(names)
        if unknown:
            raise _needs_more_error({keys[one] for one in unknown if one in keys})
        symbol = _renamed(symbol, names)
        needed = set(symbol.list_inputs())
        parameters = {name: array for name, array in arrays.items() if name in needed}
        return cls(symbol, inputs, list(export.outputs_dict), parameters)


def export_model(export_format: str, model: Exported, directory: str) -> None:
    """Writes `model-symbol.json` and `model-0000.params`, or `model.onnx`; and `signature.json`.

    Raises:
        ExportError: MXNet cannot export the model.
    """
    os.makedirs(directory, exist_ok=True)
    auxiliary = set(model.symbol.list_auxiliary_states())
    saved = {
        f"{'aux' if name in auxiliary else 'arg'}:{name}": array.as_in_context(mx.cpu())
        for name, array in model.parameters.items()
    }
    prefix = os.path.join(directory, MODEL_PREFIX)
    if export_format == "onnx":
        _write_onnx(model, os.path.join(directory, ONNX_FILE))
    else:
        model.symbol.save(f"{prefix}-symbol.json")
        mx.nd.save(f"{prefix}-0000.params", saved)
    signature = {
        "inputs": {
            name: {"dtype": dtype, "shape": list(shape)}
            for name, (shape, dtype) in model.inputs.items()
        },
        "outputs": model.outputs,
    }
    with open(os.path.join(directory, "signature.json"), "w", encoding="utf-8") as file:
        json.dump(signature, file, indent=1)


def _write_onnx(model: Exported, path: str) -> None:
    listed = [name for name in model.symbol.list_inputs() if name in model.inputs]
    try:
        mx.onnx.export_model(
            model.symbol,
            model.parameters,
            [tuple(size or _EXAMPLE_BATCH for size in model.inputs[name][0]) for name in listed],
            [np.dtype(model.inputs[name][1]) for name in listed],
            path,
            dynamic=True,
            dynamic_input_shapes=[model.inputs[name][0] for name in listed],
        )
    except Exception as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), repr(error))
        raise ExportError(f"MXNet cannot export the model to ONNX: {reason}") from error
    _hide_variables(path)


def _hide_variables(path: str) -> None:
    """Takes the variables out of the inputs, where a caller could replace them at every call.

    MXNet lists them, as ONNX once asked for; then onnxruntime warns of each and folds none.
    """
    import onnx

    model = onnx.load(path)
    variables = {one.name for one in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in variables]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    onnx.save(model, path)


def _recorded_name(array: Any) -> str:
    """What MXNet calls an array in the symbols that it makes of recorded computations."""
    mx.autograd.mark_variables([array], [mx.nd.zeros_like(array)], "write")
    (name,) = mx.autograd.get_symbol(array).list_arguments()
    return str(name)


def _renamed(symbol: Any, names: Mapping[str, str]) -> Any:
    graph = json.loads(symbol.tojson())
    for node in graph["nodes"]:
        if node["op"] == "null":
            node["name"] = names[node["name"]]
    return mx.sym.load_json(json.dumps(graph))


def _any_batch(shape: tuple[int, ...]) -> tuple[int | None, ...]:
    return (None, *shape[1:]) if shape and shape[0] == _EXAMPLE_BATCH else tuple(shape)


def _no_input_error(name: str) -> ExportError:
    return ExportError(
        f"ExportSpec.inputs_dict[{name!r}] is not one of the inputs of model_fn.\n"
        "  Engine 'mxnet' exports from the inputs on: take the tensor as it came in."
    )


def _needs_more_error(unknown: Any) -> ExportError:
    inputs = ", ".join(repr(one) for one in sorted(map(str, unknown)))
    needs = f"the inputs {inputs}" if inputs else "arrays that model_fn makes itself"
    return ExportError(
        f"the outputs of the ExportSpec need {needs} besides those of inputs_dict.\n"
        "  Put inputs into inputs_dict, and make constants with mox.get_variable(trainable=False)."
    )
