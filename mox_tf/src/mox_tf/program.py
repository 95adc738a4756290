"""A program of the TensorFlow engine: one graph and one session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mox_core.engine import (
    Fetch,
    Program,
    ProgramRequest,
    RestoreReport,
    StepResults,
    VariableInfo,
)
from mox_core.errors import EngineError
from mox_core.spec import ModeKeys
from mox_tf.devices import Placement
from mox_tf.evaluation import InterEvaluator, inter_native_hooks
from mox_tf.export import FORMATS, write_saved_model
from mox_tf.failures import DATA_ENDED, step_error
from mox_tf.graph import ProgramGraph
from mox_tf.native_hooks import HookRunner, chosen_hooks
from mox_tf.profiling import ProfileHook, StepTracer
from mox_tf.session import Initializers, ProgramSession
from mox_tf.stepping import StepGraph, StepKind
from mox_tf.tf1 import tf
from mox_tf.variables import ProgramVariables

__all__ = ["TensorFlowProgram"]


class TensorFlowProgram(Program):
    """Runs what `build_graph` built.

    Args:
        request: what it was built from.
        graph: the graph, not yet finalized.
        placement: the devices of the session.
        profile: the first and the last step to trace, or None.
    """

    _data_ended: Any = DATA_ENDED

    def __init__(
        self,
        request: ProgramRequest,
        graph: ProgramGraph,
        placement: Placement,
        profile: tuple[int, int] | None = None,
    ) -> None:
        self.request = request
        self.hooks = graph.towers[0].run_hooks
        self.inter_hooks = graph.inter.tower.run_hooks if graph.inter else ()
        self.export_spec = graph.towers[0].spec.export_spec
        self.input_spec = graph.input.spec
        self.summary_tags = graph.summary_tags
        self._graph = graph
        self._placement = placement
        self._native_hooks = chosen_hooks([tower.native_hooks for tower in graph.towers])
        if profile is not None:
            tracer = StepTracer()
            self._native_hooks.append(tracer)
            self.hooks = (*self.hooks, ProfileHook(tracer, *profile))
        with graph.graph.as_default():
            self._steps = StepGraph(graph)
            self._evaluator = InterEvaluator(graph.inter) if graph.inter else None
        self._opened: tuple[ProgramSession, ProgramVariables] | None = None
        self._hook_runner: HookRunner | None = None
        self._begun = False
        self._failed = False

    @property
    def towers(self) -> int:
        """How many towers a step runs."""
        return len(self._graph.towers)

    @property
    def global_step(self) -> int:
        """How many updates the variables have seen."""
        return int(self._session.session.run(self._graph.global_step))

    @property
    def _session(self) -> ProgramSession:
        assert self._opened is not None, "start comes first"
        return self._opened[0]

    @property
    def _variables(self) -> ProgramVariables:
        assert self._opened is not None, "start comes first"
        return self._opened[1]

    def start(self) -> None:
        """Lets session hooks add to the graph, finalizes it, initializes the variables."""
        with self._graph.graph.as_default():
            for hook in [*self._native_hooks, *inter_native_hooks(self._graph.inter)]:
                hook.begin()
            variables = ProgramVariables.of_default_graph(
                self._graph.model_variables, self._graph.refresh
            )
            self._initializers = Initializers.of_default_graph()
        if self.request.mode != ModeKeys.EXPORT:
            self._graph.graph.finalize()
        self._opened = self._open_session(), variables

    def _open_session(self) -> ProgramSession:
        """Opens a session whose variables are initialized."""
        session = ProgramSession(self._graph, self._placement.session_config(), self._initializers)
        session.initialize()
        session.initialize_own()
        return session

    # ---- Steps -----------------------------------------------------------------------------------

    def run_steps(self, n: int, fetch: Fetch, stop: Callable[[], bool]) -> StepResults:
        """Runs at most `n` steps; only the last one brings back more than the losses."""
        try:
            self._begin()
            results = StepResults(steps=0, global_step=0)
            self._run_steps(n, fetch, stop, results)
        except BaseException:
            self._failed = True
            raise
        if results.steps < n:
            results.global_step = self.global_step
        return results

    def _run_steps(
        self, n: int, fetch: Fetch, stop: Callable[[], bool], results: StepResults
    ) -> None:
        session = self._session
        check_losses = self.request.stop_on_nan and self._graph.update is not None
        while results.steps < n:
            if results.steps and stop():
                results.ended = "stop"
                return
            last = results.steps == n - 1
            towers = self._towers_with_data()
            parts = None
            if towers:
                kind = self._steps.kind(session.session, fetch, last=last, towers=towers)
                parts, stopped = self._run_step(kind)
            if parts is None:
                session.raise_input_error()
                results.ended = "data"
                return
            results.steps += 1
            if fetch.outputs:
                results.outputs += self._steps.outputs(parts)
            if last:
                self._steps.read_last(parts, results)
            if check_losses:
                results.nonfinite = self._steps.nonfinite(parts)
                if results.nonfinite:
                    results.ended = "nan"
                    return
            if stopped:
                results.ended = "hook"
                return

    def _towers_with_data(self) -> int:
        """How many towers the next step runs; 0 when the data ended.

        A tower without a batch would take those of the others down with it. An update needs the
        batches of all.
        """
        feeder = self._session.feeder
        if feeder is None:
            return self.towers
        training = self._graph.update is not None
        ready = feeder.towers_with_data(self.towers, wait=self.towers > 1 and not training)
        return 0 if training and ready < self.towers else ready

    def _run_step(self, kind: StepKind) -> tuple[list[Any] | None, bool]:
        """The parts of a step, None when the data ended; and whether a hook asked to stop."""
        try:
            if self._hook_runner is None:
                return kind.run(), False
            return self._hook_runner.run(kind.fetches, kind.run)
        except self._data_ended:
            return None, False
        except tf.errors.OpError as error:
            raise step_error(
                f"a step of mode {self.request.mode!s}", error, self._graph.graph
            ) from error

    def evaluate(
        self, values: Mapping[str, Any], steps: int, stop: Callable[[], bool]
    ) -> list[tuple[dict[str, float], int | None]]:
        """Runs at most `steps` steps of the inter mode."""
        assert self._evaluator is not None, "the program has no inter mode"
        try:
            self._begin()
            return self._evaluator.evaluate(self._session, values, steps, stop)
        except BaseException:
            self._failed = True
            raise

    def _begin(self) -> None:
        if self._begun:
            return
        self._begun = True
        session = self._session
        session.begin_reading()
        if self._native_hooks:
            self._hook_runner = HookRunner(self._native_hooks, session.session, session.coordinator)
        if self._evaluator is not None:
            self._evaluator.begin(session)

    # ---- Variables -------------------------------------------------------------------------------

    def save(self, prefix: str) -> None:
        """Writes a checkpoint in TensorFlow's format."""
        self._variables.save(self._session.session, prefix)

    def restore(
        self, prefix: str, include: Callable[[str], bool], *, state: bool = True
    ) -> RestoreReport:
        """Reads a checkpoint in TensorFlow's format."""
        return self._variables.restore(self._session.session, prefix, include, state=state)

    def variables(self) -> dict[str, Any]:
        """Neutral name -> NumPy array."""
        return self._variables.read(self._session.session)

    def assign(self, values: Mapping[str, Any]) -> None:
        """Sets variables by their neutral names."""
        self._variables.assign(self._session.session, values)

    def variable_infos(self) -> list[VariableInfo]:
        """Describes all variables that `save` writes."""
        return self._variables.infos()

    def nonfinite_variables(self) -> list[str]:
        """Names of variables that hold NaN or infinity."""
        return self._variables.nonfinite(self._session.session)

    # ---- The rest --------------------------------------------------------------------------------

    def export(self, export_format: str, directory: str) -> None:
        """Writes a SavedModel.

        Raises:
            EngineError: another format was asked for.
        """
        if export_format not in FORMATS:
            raise EngineError(f"engine 'tf' exports {', '.join(FORMATS)}, not {export_format!r}.")
        assert self.export_spec is not None, "ModelSpec.require has checked it"
        write_saved_model(
            self.export_spec, directory, session=self._session.session, saver=self._variables.saver
        )

    def graph_def(self) -> bytes:
        """The serialized `GraphDef`."""
        definition: bytes = self._graph.graph.as_graph_def(add_shapes=True).SerializeToString()
        return definition

    def close(self) -> None:
        """Tells the session hooks that the run ended, unless it failed; frees the session."""
        if self._opened is None:
            self._graph.close_inputs()
            return
        session, self._opened = self._opened[0], None
        try:
            if self._begun and not self._failed:
                self._end_hooks()
        finally:
            session.close()
            self._graph.close_inputs()

    def _end_hooks(self) -> None:
        if self._hook_runner is not None:
            self._hook_runner.end()
        if self._evaluator is not None:
            self._evaluator.end()
