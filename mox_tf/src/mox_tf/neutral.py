"""Neutral scripts as native ones: functions over `mox_core.nn` that build TensorFlow's graph."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mox_core import nn
from mox_core.engine import ProgramRequest
from mox_core.errors import SpecError
from mox_core.nn.feed import Feed
from mox_core.nn.initializers import Constant
from mox_core.nn.lowering import batch_norm_updates, lower, map_spec, spec_tensors
from mox_core.spec import Mode, ModeKeys, ModelSpec
from mox_tf.nn_functions import TABLE, normalized
from mox_tf.python_input import PythonInput
from mox_tf.tf1 import tf

__all__ = ["NeutralScript"]

_CPU = "/cpu:0"
_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.\\/>-]")


class NeutralScript:
    """The functions of a neutral script; they are lowered when they are called, in a graph.

    Args:
        request: its functions are neutral.

    Attributes:
        native: the same request with native functions.
    """

    def __init__(self, request: ProgramRequest) -> None:
        self._request = request
        self._variables = nn.VariableStore()
        self._found: dict[nn.Tensor, Any] = {}
        self._moves_averages = request.mode == ModeKeys.TRAIN
        self.native = replace(
            request,
            input_fn=self._input_fn,
            model_fn=self._model_fn,
            auto_batch=False,  # the feed does it
            neutral=False,
        )

    def find(self, value: Any) -> Any:
        """The tensor of the graph that a neutral tensor has become; other values as they are."""
        return self._found.get(value, value) if isinstance(value, nn.Tensor) else value

    def _input_fn(self, mode: Mode) -> PythonInput:
        request = self._request
        assert request.input_fn is not None, "asked for inputs in mode EXPORT"
        feed = Feed(
            request.input_fn,
            mode,
            batch_size=request.batch_size if request.auto_batch else None,
            keep_rest=mode != ModeKeys.TRAIN,
        )
        return PythonInput.of(feed)

    def _model_fn(self, inputs: Any, mode: Mode) -> ModelSpec:
        """Called once per tower and once for the inter mode; the first call makes the variables."""
        tensors = dict(inputs if isinstance(inputs, dict) else enumerate(inputs))
        specs = {key: _spec_of(tensor) for key, tensor in tensors.items()}
        trace = nn.trace(self._request.model_fn, specs, mode, store=self._variables)
        self._variables.frozen = True
        given = {neutral: tensors[key] for key, neutral in trace.inputs.items()}
        variables = {
            neutral: self._variable(neutral, mode) for neutral in trace.graph.variables.values()
        }
        for neutral, variable in variables.items():
            given[neutral] = tf.convert_to_tensor(variable)
        norms = batch_norm_updates(trace.graph) if self._moves_averages else []
        self._moves_averages = False  # those of the first tower count
        statistics: dict[nn.Tensor, tuple[Any, Any]] = {}

        def compute(tensor: nn.Tensor, operands: Sequence[Any]) -> Any:
            with tf.name_scope(_NOT_IN_NAMES.sub("_", tensor.name)):
                if tensor.op != "batch_norm":
                    return TABLE[tensor.op](*operands, **tensor.attrs)
                y, *statistics[tensor] = normalized(*operands, **tensor.attrs)
                return y

        values = lower([*spec_tensors(trace.spec), *norms], given, compute)
        for norm in norms:
            for neutral, batch in zip(norm.inputs[3:], statistics[norm], strict=True):
                _move(variables[neutral], values[neutral], batch, norm.attrs["decay"])
        self._found.update(values)
        return map_spec(trace.spec, values.__getitem__)

    def _variable(self, neutral: nn.Variable, mode: Mode) -> Any:
        if not _NAME.fullmatch(neutral.name):
            raise SpecError(
                f"variable {neutral.name!r} cannot be named so in TensorFlow.\n"
                "  Use letters, digits and _ . - in names of scopes and variables."
            )

        def initializer(shape: Sequence[int], dtype: Any) -> Any:
            if mode == ModeKeys.EXPORT:  # what comes from a checkpoint
                return tf.zeros(shape, dtype)
            if isinstance(neutral.initializer, Constant):
                return tf.constant(nn.initial_value(neutral), dtype)
            stored = tf.float32 if dtype == tf.bfloat16 else dtype
            with tf.device(_CPU):
                # Drawn when it is asked for: in the graph the values would stay for ever.
                drawn = tf.numpy_function(lambda: nn.initial_value(neutral), [], stored)
            drawn.set_shape(shape)
            return tf.cast(drawn, dtype)

        return tf.get_variable(
            neutral.name,
            neutral.shape,
            neutral.dtype,
            initializer=initializer,
            trainable=neutral.trainable,
        )


def _spec_of(tensor: Any) -> nn.InputSpec:
    shape = tensor.shape.as_list()
    return nn.InputSpec((None, *shape[1:]) if shape else (), tensor.dtype.name)


def _move(variable: Any, value: Any, batch: Any, decay: float) -> None:
    """Moves an average, before the update of a training step."""
    update = variable.assign_sub((value - batch) * (1.0 - decay), read_value=False)
    tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, update)
