"""Exported models: `torch.export` programs and ONNX."""

from __future__ import annotations

import importlib.util
import json
import os
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from mox_core.errors import ExportError, SpecError
from mox_core.spec import ModeKeys, ModelSpec
from mox_torch.inputs import Batch
from mox_torch.model import Model
from mox_torch.store import VariableStore

__all__ = ["FORMATS", "MODEL_FILE", "ONNX_FILE", "example_inputs", "export_program"]

MODEL_FILE = "model.pt2"
ONNX_FILE = "model.onnx"
_HAS_ONNX = importlib.util.find_spec("onnxscript") is not None
FORMATS = ("torch_export", "onnx") if _HAS_ONNX else ("torch_export",)

# A batch of 1 would be taken for a constant.
_EXAMPLE_BATCH = 2


def example_inputs(input_spec: Mapping[Any, Any] | None, device: torch.device) -> Batch:
    """Zeros in the shapes that the run's inputs had, with a batch of two.

    Raises:
        SpecError: there was no run to take them from.
    """
    if not input_spec:
        raise SpecError("mode EXPORT needs the inputs of a run; call mox.run(export_model=...).")
    batch = next((shape[0] for shape, _ in input_spec.values() if shape), None)
    made = {}
    for key, (shape, dtype) in input_spec.items():
        if shape and shape[0] == batch:
            shape = (_EXAMPLE_BATCH, *shape[1:])
        made[key] = torch.zeros(shape, dtype=dtype, device=device)
    named = any(isinstance(key, str) for key in made)
    return made if named else list(made.values())


class _Exported(nn.Module):
    """model_fn as a module: inputs of the ExportSpec -> outputs of the ExportSpec.

    Args:
        model: calls model_fn.
        store: its variables.
        given: inputs of a call.
        spec: what it returned; its ExportSpec counts.

    Raises:
        ExportError: an input of the ExportSpec is not one of model_fn's.
    """

    def __init__(self, model: Model, store: VariableStore, given: Batch, spec: ModelSpec) -> None:
        super().__init__()
        self.root = store.root
        self._model = model
        self._store = store
        self._example = given
        items = list(given.items() if isinstance(given, dict) else enumerate(given))
        export = spec.export_spec
        assert export is not None, "ModelSpec.require has checked it"
        self.keys: dict[str, Any] = {}
        for name, tensor in export.inputs_dict.items():
            key = next((key for key, one in items if one is tensor), None)
            if key is None:
                raise ExportError(
                    f"ExportSpec.inputs_dict[{name!r}] is not one of the inputs of model_fn.\n"
                    "  Engine 'torch' exports from the inputs on: take the tensor as it came in."
                )
            self.keys[name] = key

    def forward(self, *arguments: torch.Tensor) -> dict[str, torch.Tensor]:
        given = dict(zip(self.keys.values(), arguments, strict=True))
        batch = arguments[0].shape[0] if arguments[0].dim() else None
        example = self._example
        items = example.items() if isinstance(example, dict) else enumerate(example)
        inputs: dict[Any, torch.Tensor] = {
            key: given.get(key, _stand_in(tensor, batch)) for key, tensor in items
        }
        named = isinstance(example, dict)
        with self._store:
            spec = self._model(inputs if named else list(inputs.values()), ModeKeys.EXPORT)
        assert spec.export_spec is not None
        return dict(spec.export_spec.outputs_dict)


def _stand_in(tensor: torch.Tensor, batch: Any) -> torch.Tensor:
    """Zeros for an input that the exported model does not take, such as the labels."""
    if tensor.dim() == 0 or batch is None:
        return torch.zeros_like(tensor)
    return torch.zeros((batch, *tensor.shape[1:]), dtype=tensor.dtype, device=tensor.device)


def export_program(
    export_format: str,
    directory: str,
    *,
    model: Model,
    store: VariableStore,
    inputs: Batch,
    spec: ModelSpec,
) -> None:
    """Writes `model.pt2` or `model.onnx`, and `signature.json` with the names.

    Args:
        export_format: one of `FORMATS`.
        directory: made when it does not exist.
        model: calls model_fn.
        store: its variables.
        inputs: of a call.
        spec: what it returned; its ExportSpec counts.

    Raises:
        ExportError: PyTorch cannot export the model.
    """
    module = _Exported(model, store, inputs, spec).eval()
    examples = tuple(inputs[key] for key in module.keys.values())
    batch = torch.export.Dim("batch", min=1)
    shapes = tuple({0: batch} if example.dim() else None for example in examples)
    names = list(module.keys)
    try:
        with torch.no_grad():
            outputs = module(*examples)
            exported = torch.export.export(module, examples, dynamic_shapes=(shapes,))
    except Exception as error:
        raise ExportError(
            f"torch.export cannot trace model_fn: {_first_line(error)}.\n"
            "  Leave out what depends on the values of tensors when the mode is EXPORT."
        ) from error
    os.makedirs(directory, exist_ok=True)
    if export_format == "onnx":
        program = torch.onnx.export(
            exported, input_names=names, output_names=list(outputs), verbose=False
        )
        assert program is not None
        program.save(os.path.join(directory, ONNX_FILE))
    else:
        with warnings.catch_warnings():
            # Said of kernels in NHWC order, which are written whole all the same.
            warnings.filterwarnings("ignore", message="No complete tensor found")
            torch.export.save(exported, os.path.join(directory, MODEL_FILE))
    signature = {
        "inputs": {n: _described(e) for n, e in zip(names, examples, strict=True)},
        "outputs": {name: _described(tensor) for name, tensor in outputs.items()},
    }
    with open(os.path.join(directory, "signature.json"), "w", encoding="utf-8") as file:
        json.dump(signature, file, indent=1)


def _described(tensor: torch.Tensor) -> dict[str, Any]:
    shape: list[int | None] = list(tensor.shape)
    if shape and shape[0] == _EXAMPLE_BATCH:
        shape[0] = None
    return {"dtype": str(tensor.dtype).removeprefix("torch."), "shape": shape}


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next(iter(lines), type(error).__name__).rstrip(".")
