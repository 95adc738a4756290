"""Neutral scripts as native ones: functions over `mox_core.nn` that build TensorFlow's graph."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mox_core import nn
from mox_core.engine import ProgramRequest
from mox_core.nn.feed import Feed
from mox_core.nn.lowering import map_spec, spec_tensors
from mox_core.spec import Mode, ModeKeys, ModelSpec
from mox_tf.lowering import lower_graph, spec_of
from mox_tf.python_input import PythonInput

__all__ = ["NeutralScript"]


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
        specs = {key: spec_of(tensor) for key, tensor in tensors.items()}
        trace = nn.trace(self._request.model_fn, specs, mode, store=self._variables)
        self._variables.frozen = True
        given = {neutral: tensors[key] for key, neutral in trace.inputs.items()}
        values = lower_graph(
            trace.graph, spec_tensors(trace.spec), given, mode, moves_averages=self._moves_averages
        )
        self._moves_averages = False  # those of the first tower count
        self._found.update(values)
        return map_spec(trace.spec, values.__getitem__)
