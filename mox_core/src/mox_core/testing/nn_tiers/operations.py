"""Operations: values against the reference, gradients against finite differences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from mox_core import nn
from mox_core.engine import Fetch
from mox_core.spec import Mode, ModeKeys, ModelSpec
from mox_core.testing.nn_bench import NNBench, never
from mox_core.testing.nn_cases import CASES, Case
from mox_core.testing.nn_reference import Array, evaluate

__all__ = ["OperationsTier"]

_STEP = 1e-5


def _variable(name: str, array: Array) -> nn.Variable:
    initializer = nn.constant(_as_tuples(array.tolist()))
    return nn.get_variable(name, array.shape, dtype=str(array.dtype), initializer=initializer)


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def _is_float(array: Array) -> bool:
    return array.dtype == np.float64


class OperationsTier:
    """One test of values and one of gradients for each case."""

    @pytest.mark.parametrize("name", list(CASES))
    def test_value(self, nn_bench: NNBench, name: str) -> None:
        case = CASES[name]

        def model_fn(inputs: Any, mode: Mode) -> ModelSpec:
            variables = [_variable(f"v{i}", one) for i, one in enumerate(case.variables)]
            return ModelSpec(output_info={"y": case.build(*inputs, *variables)})

        (got,) = nn_bench.predict([case.inputs], model_fn)
        wanted = _reference_value(case)
        assert got["y"].dtype == wanted.dtype
        np.testing.assert_allclose(got["y"], wanted, rtol=1e-9, atol=1e-11)

    @pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.gradient])
    def test_gradient(self, nn_bench: NNBench, name: str) -> None:
        """A step of gradient descent with rate 1 changes variables by the gradient."""
        case = CASES[name]
        arrays = {f"v{i}": one for i, one in enumerate((*case.inputs, *case.variables))}
        trained = {key: one for key, one in arrays.items() if _is_float(one)}
        fed = tuple(one for one in arrays.values() if not _is_float(one))

        def model_fn(inputs: Any, mode: Mode) -> ModelSpec:
            given = iter(inputs)
            made = [
                _variable(key, one) if key in trained else next(given)
                for key, one in arrays.items()
            ]
            y = case.build(*made)
            size = max(int(np.prod([n or 1 for n in y.shape])), 1)
            weights = np.cos(np.arange(size)).reshape([n or 1 for n in y.shape])
            return ModelSpec(loss=nn.reduce_sum(y * weights))

        # An engine needs some input, also where the model uses none.
        program = nn_bench.build(ModeKeys.TRAIN, [fed or (np.zeros(2),)], model_fn)
        before = program.variables()
        assert program.run_steps(1, Fetch(), never).steps == 1
        after = program.variables()
        expected = _finite_differences(model_fn, trained, fed)
        for key in trained:
            np.testing.assert_allclose(
                before[key] - after[key], expected[key], rtol=1e-6, atol=1e-7, err_msg=key
            )


def _reference_value(case: Case) -> Array:
    def model_fn(inputs: Any, mode: Mode) -> ModelSpec:
        variables = [_variable(f"v{i}", one) for i, one in enumerate(case.variables)]
        return ModelSpec(output_info={"y": case.build(*inputs, *variables)})

    trace = nn.trace(model_fn, _specs(case.inputs), ModeKeys.PREDICT)
    given: dict[Any, Array] = dict(zip(trace.inputs.values(), case.inputs, strict=True))
    given.update(_first_values(trace))
    y = (trace.spec.output_info or {})["y"]
    return evaluate([y], given)[y]


def _first_values(trace: nn.Trace) -> dict[Any, Array]:
    return {one: nn.initial_value(one) for one in trace.graph.variables.values()}


def _specs(arrays: tuple[Array, ...]) -> dict[Any, nn.InputSpec]:
    return {i: nn.InputSpec((None, *a.shape[1:]), str(a.dtype)) for i, a in enumerate(arrays)}


def _finite_differences(
    model_fn: Any, trained: Mapping[str, Array], fed: tuple[Array, ...]
) -> dict[str, Array]:
    trace = nn.trace(model_fn, _specs(fed), ModeKeys.TRAIN)
    inputs: dict[Any, Array] = dict(zip(trace.inputs.values(), fed, strict=True))
    variables = trace.graph.variables
    loss = trace.spec.loss

    # What passes nn.stop_gradient counts as a constant.
    ends = [one for one in trace.graph.tensors if one.op == "stop_gradient"]
    start = {**inputs, **_first_values(trace)}
    fixed = {one: value for one, value in evaluate(ends, start).items() if one in ends}

    def compute(key: str, array: Array) -> float:
        return float(evaluate([loss], {**start, **fixed, variables[key]: array})[loss])

    result = {}
    for key, array in trained.items():
        gradient = np.zeros_like(array)
        for place in np.ndindex(*array.shape):
            move = np.zeros_like(array)
            move[place] = _STEP
            difference = compute(key, array + move) - compute(key, array - move)
            gradient[place] = difference / (2 * _STEP)
        result[key] = gradient
    return result
