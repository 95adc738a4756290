"""EngineBench: what the tests of EngineSuite use to build programs and to run them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pytest

from mox_core.engine import (
    Engine,
    EngineConfig,
    Fetch,
    Program,
    ProgramRequest,
    RestoreReport,
    StepResults,
)
from mox_core.flags import get_flag
from mox_core.hooks.base import RunHook
from mox_core.spec import ExportSpec, Mode, ModeKeys, ModelSpec
from mox_core.testing.engine_problem import (
    CLASSES,
    Batch,
    EngineProblem,
    SoftmaxModel,
    Source,
)

__all__ = [
    "LEARNING_RATE",
    "EngineBench",
    "MakeModel",
    "MakeSpec",
    "MonitorHook",
    "advance",
    "losses",
    "never",
    "one_by_one",
    "restore_all",
    "standard_spec",
]

LEARNING_RATE = 0.5

MakeModel = Callable[[str, int], SoftmaxModel]
MakeSpec = Callable[[MakeModel, Mode], Any]


class MonitorHook(RunHook):
    """Carries the tensors that an evaluation in the middle of training computes."""

    inter_mode = True

    def __init__(self, monitor_info: Mapping[str, Any]) -> None:
        self.monitor_info = dict(monitor_info)


def never() -> bool:
    """A stop function that never stops."""
    return False


def standard_spec(make_model: MakeModel, mode: Mode, /, classes: int = CLASSES) -> ModelSpec:
    """The ModelSpec of most tests: everything that every mode needs."""
    model = make_model("net", classes)
    metrics = {"loss": model.loss, "accuracy": model.accuracy}
    export_spec = None
    if mode == ModeKeys.EXPORT:
        export_spec = ExportSpec({"features": model.features}, {"logits": model.logits})
    return ModelSpec(
        loss=model.loss,
        log_info=metrics,
        output_info={"logits": model.logits},
        export_spec=export_spec,
        hooks=[MonitorHook(metrics)] if mode == ModeKeys.EVAL else None,
    )


class EngineBench:
    """Builds programs of an engine, and closes them all in the end.

    Args:
        make_engine: returns a new engine.
        problem: how the engine spells the problem.
    """

    def __init__(self, make_engine: Callable[[], Engine], problem: EngineProblem) -> None:
        self._make_engine = make_engine
        self.problem = problem
        self._engines: dict[int, Engine] = {}
        self._programs: list[Program] = []

    def engine(self, towers: int = 1) -> Engine:
        """Returns an engine that is set up for a number of towers."""
        if towers not in self._engines:
            engine = self._engines[towers] = self._make_engine()
            engine.setup(EngineConfig(towers=towers, get_flag=get_flag))
        return self._engines[towers]

    def new_engine(self) -> Engine:
        """Returns an engine that is not set up."""
        return self._make_engine()

    def require(self, capability: str) -> EngineBench:
        """Skips the test when the engine does not declare a capability."""
        engine = self.new_engine()
        if not getattr(engine.capabilities, capability):
            pytest.skip(f"engine {engine.name!r} does not declare {capability}")
        return self

    def inputs(self, batches: Sequence[Batch], *, batched: bool = True) -> Any:
        """What an input_fn returns for these batches."""
        return self.problem.inputs(Source(lambda: iter(batches), batched))

    def model_fn(self, make_spec: MakeSpec = standard_spec) -> Callable[..., Any]:
        """A model_fn; its parameters have no names that an engine could use."""

        def model_fn(inputs: Any, mode: Mode, /) -> Any:
            return make_spec(partial(self.problem.model, inputs), mode)

        return model_fn

    def optimizer_fn(self, learning_rate: float = LEARNING_RATE) -> Callable[[], Any]:
        """An optimizer_fn: momentum with this learning rate."""
        return lambda: self.problem.optimizer(learning_rate)

    def build(
        self,
        mode: Mode,
        batches: Sequence[Batch] = (),
        *,
        towers: int = 1,
        make_spec: MakeSpec = standard_spec,
        start: bool = True,
        **request: Any,
    ) -> Program:
        """Builds a program.

        Args:
            mode: its mode.
            batches: what its input_fn gives.
            towers: how many.
            make_spec: (function that builds the model, mode) -> ModelSpec.
            start: whether to start it, too.
            request: other fields of the ProgramRequest.
        """
        fields: dict[str, Any] = {
            "input_fn": lambda mode, /: self.inputs(batches),
            "model_fn": self.model_fn(make_spec),
            "stop_on_nan": mode == ModeKeys.TRAIN,
        }
        if mode == ModeKeys.TRAIN:
            fields["optimizer_fns"] = (self.optimizer_fn(),)
        built = self.engine(towers).build(ProgramRequest(mode, **{**fields, **request}))
        self._programs.append(built)
        if start:
            built.start()
        return built

    def train(self, batches: Sequence[Batch], **request: Any) -> Program:
        """Builds a program of mode TRAIN."""
        return self.build(ModeKeys.TRAIN, batches, **request)

    def eval(self, batches: Sequence[Batch], **request: Any) -> Program:
        """Builds a program of mode EVAL."""
        return self.build(ModeKeys.EVAL, batches, **request)

    def predict(self, batches: Sequence[Batch], **request: Any) -> Program:
        """Builds a program of mode PREDICT."""
        return self.build(ModeKeys.PREDICT, batches, **request)

    def close(self) -> None:
        """Closes all programs, then all engines."""
        for program in self._programs:
            program.close()
        for engine in self._engines.values():
            engine.close()


def one_by_one(program: Program, count: int) -> list[StepResults]:
    """Runs single steps with their values fetched."""
    return [program.run_steps(1, Fetch(values=True), never) for _ in range(count)]


def losses(program: Program, count: int) -> list[list[float]]:
    """Runs single steps; the losses of every step, per tower."""
    return [[tower["loss"] for tower in results.values] for results in one_by_one(program, count)]


def advance(program: Program, count: int) -> None:
    """Runs `count` steps in one call."""
    results = program.run_steps(count, Fetch(), never)
    assert (results.steps, results.ended) == (count, None)


def restore_all(program: Program, prefix: str, *, state: bool = True) -> RestoreReport:
    """Restores every variable; all have to be there."""
    report = program.restore(prefix, lambda name: True, state=state)
    assert not report.missing, report
    assert not report.mismatched, report
    return report
