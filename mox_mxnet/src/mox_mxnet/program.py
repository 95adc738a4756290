"""MXNetProgram: the user's functions, run in every step."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from mox_core.eager import EagerProgram, Rows
from mox_core.engine import Fetch, ProgramRequest, RestoreReport, StepResults
from mox_core.errors import EngineError, SpecError
from mox_core.nn import feed as neutral_feed
from mox_core.patterns import in_scopes
from mox_core.spec import Mode, ModeKeys
from mox_mxnet.checkpoint_files import read_arrays, write_arrays
from mox_mxnet.distributed import Group
from mox_mxnet.export import FORMATS, Exported, export_model, zeros_of
from mox_mxnet.importing import load
from mox_mxnet.inputs import Feed, items_of, samples_of
from mox_mxnet.model import RULES, ModelCall, NativeModel, floats
from mox_mxnet.neutral import NeutralModel
from mox_mxnet.reduction import make_reducer
from mox_mxnet.settings import Settings
from mox_mxnet.store import VariableStore
from mox_mxnet.updates import Trainer
from mox_mxnet.variables import Variable, Variables

__all__ = ["MXNetProgram"]

mx = load()

_AHEAD = 2
"""How many steps Python may be ahead of MXNet's engine, which computes on its own threads."""


class MXNetProgram(EagerProgram[Any]):
    """The user's functions and their variables.

    Args:
        request: what to build.
        settings: how to compute.
        group: the processes that train together; None for this one alone.
    """

    def __init__(
        self, request: ProgramRequest, settings: Settings, group: Group | None = None
    ) -> None:
        self.request = request
        self._settings = settings
        self._group: Group | None = group if request.mode == ModeKeys.TRAIN else None
        self._trainer: Trainer | None = None
        self._running: deque[tuple[int, list[Any]]] = deque()
        self._synchronized = False
        mode = request.mode
        if mode != ModeKeys.EXPORT:
            self._feed: Any = self._make_feed(mode)
        if request.inter_mode is not None:
            self._inter_feed: Any = self._make_feed(request.inter_mode)
        model = self._build_neutral() if request.neutral else self._build_native()
        states = [one.state for one in self._trainer.updates] if self._trainer else []
        self._variables = Variables(model, states)
        self._model_variables = model

    # ---- Building ----------------------------------------------------------------------------

    def _make_feed(self, mode: Mode) -> Any:
        request = self.request
        assert request.input_fn is not None
        kind = neutral_feed.Feed if request.neutral else Feed
        return kind(
            request.input_fn,
            mode,
            batch_size=request.batch_size if request.auto_batch else None,
            keep_rest=mode != ModeKeys.TRAIN,
        )

    def _build_neutral(self) -> list[Variable]:
        request, settings = self.request, self._settings
        model = NeutralModel(request.model_fn, settings.contexts, settings.trainable)
        self._model: NeutralModel | NativeModel = model
        specs = self._feed.specs() if self._feed else request.input_spec
        if not specs:
            raise _no_inputs()
        spec = model.trace(specs, request.mode).spec
        self.input_spec = specs
        self._loss_names = spec.loss_names()
        self.hooks, self.export_spec = RULES.hooks(spec), spec.export_spec
        if request.inter_mode is not None:
            inter = model.trace(self._inter_feed.specs(), request.inter_mode)
            self.inter_hooks = RULES.hooks(inter.spec)
        variables = model.freeze()
        if request.mode == ModeKeys.TRAIN:
            self._trainer = self._make_trainer(spec, model.trained)
        return variables

    def _build_native(self) -> list[Variable]:
        """Calls model_fn once, which makes the variables and shows the hooks."""
        request, settings = self.request, self._settings
        store = VariableStore(settings.contexts, trainable=settings.trainable)
        model = NativeModel(request.model_fn, store, settings.contexts)
        self._model = model
        if request.mode == ModeKeys.EXPORT:
            if not request.input_spec:
                raise _no_inputs()
            first = zeros_of(request.input_spec)
        else:
            first = self._feed.first
            self.input_spec = {k: (tuple(a.shape), a.dtype) for k, a in items_of(first)}
        with self._gradients():
            spec = model(first, request.mode).spec
        RULES.check(spec, request.mode)
        store.check_shapes()
        self.hooks, self.export_spec = RULES.hooks(spec), RULES.export_spec(spec)
        self._loss_names = spec.loss_names()
        if request.mode == ModeKeys.EXPORT:
            self._example = first
        reached = _reached(spec.losses, store) if request.mode == ModeKeys.TRAIN else []
        if request.inter_mode is not None:
            store.frozen = True  # what only an evaluation has would never be trained
            inter = model(self._inter_feed.first, request.inter_mode).spec
            self.inter_hooks = RULES.hooks(inter)
        store.put_back()
        variables = store.freeze()
        if request.mode == ModeKeys.TRAIN:

            def trained(index: int) -> list[Variable]:
                scopes = spec.scopes_of(index)
                names = reached[index]
                return [v for v in variables if v.name in names and in_scopes(v.name, scopes)]

            with store:
                self._trainer = self._make_trainer(spec, trained)
        return variables

    def _make_trainer(self, spec: Any, trained: Callable[[int], list[Variable]]) -> Trainer:
        settings = self._settings
        processes = self._group.cluster.world_size if self._group else 1
        return Trainer(
            spec,
            trained,
            self.request.optimizer_fns,
            settings,
            share=1.0 / (len(settings.contexts) * processes),
            neutral=self.request.neutral,
            reducer=make_reducer(settings, self._group),
        )

    def _gradients(self) -> AbstractContextManager[Any]:
        training = self.request.mode == ModeKeys.TRAIN
        return mx.autograd.record() if training else mx.autograd.pause()  # type: ignore[no-any-return]

    @property
    def towers(self) -> int:
        """How many contexts a step uses."""
        return 1 if self.request.mode == ModeKeys.EXPORT else len(self._settings.contexts)

    # ---- Steps -------------------------------------------------------------------------------

    def run_steps(self, n: int, fetch: Fetch, stop: Callable[[], bool]) -> StepResults:
        """Runs at most `n` steps."""
        results = StepResults(steps=0, global_step=self.global_step)
        if self._group and not self._synchronized:
            self._group.synchronize(self._model_variables, self.global_step)
            if self._trainer:
                self._group.skip_step = self._trainer.skip
                self._trainer.prepare()
            self._synchronized = True
        calls: list[ModelCall] = []
        while results.steps < n and results.ended is None:
            if results.steps and stop():
                results.ended = "stop"
                break
            batches = self._next_batches()
            results.ended = self._end_before_step(has_data=bool(batches))
            if results.ended:
                break
            looked_at = fetch.outputs or (fetch.values and results.steps + 1 == n)
            calls = self._step(batches, looked_at=looked_at)
            results.steps += 1
            if fetch.outputs:
                results.outputs += [call.outputs() for call in calls]
            if self._trainer:
                self._watch(results, calls, keep=_AHEAD)
        self._watch(results, [], keep=0)
        results.global_step = self.global_step
        if fetch.values and calls and looked_at:
            mode = self.request.mode
            results.values = [floats(one.spec.log_info or {}, "log_info", mode) for one in calls]
            results.samples = [one.samples for one in calls]
        return results

    def _next_batches(self) -> list[Any]:
        """All batches of a step; at the end of the data fewer, but not for an update."""
        assert self._feed is not None, "a program of mode EXPORT runs no steps"
        batches: list[Any] = self._feed.take(self.towers)
        if self._trainer is not None and len(batches) < self.towers:
            return []
        return batches

    def _step(self, batches: list[Any], *, looked_at: bool) -> list[ModelCall]:
        mode, trainer = self.request.mode, self._trainer
        calls = []
        with self._gradients():
            for tower, batch in enumerate(batches):
                only = trainer is not None and not looked_at
                calls.append(self._model(batch, mode, tower=tower, losses_only=only))
        if trainer is not None:
            if not self.request.neutral:  # MXNet would take the sum of a loss that is no scalar
                for call in calls:
                    RULES.check(call.spec, mode, losses=len(trainer.updates))
            trainer.apply([call.spec.losses for call in calls], self.global_step)
            if self._group:
                self._group.step_done()
            self._variables.global_step += 1
            for call in calls:
                if call.after:
                    call.after()
        return calls

    def _watch(self, results: StepResults, calls: list[ModelCall], *, keep: int) -> None:
        """Looks at losses some steps late, and thereby waits until they are computed.

        MXNet computes while Python goes on; waiting for every step would cost that, and never
        waiting would let batches pile up. The first loss that is not finite ends the steps.
        """
        if calls:
            losses = [loss for call in calls for loss in call.spec.losses]
            self._running.append((results.steps, losses))
        while len(self._running) > keep:
            step, losses = self._running.popleft()
            values = [float(loss.asscalar()) for loss in losses]
            if self.request.stop_on_nan and not all(map(math.isfinite, values)):
                names = zip(itertools.cycle(self._loss_names), values, strict=False)
                bad = [name for name, value in names if not math.isfinite(value)]
                results.nonfinite = tuple(dict.fromkeys(bad))
                results.ended, results.steps = "nan", step
                self._running.clear()

    # ---- Evaluation during training ----------------------------------------------------------

    @contextmanager
    def _evaluation(self, values: Mapping[str, Any]) -> Iterator[Callable[[Any], Rows]]:
        """Computes the inter mode's model, and looks up `values` in its result."""
        mode = self.request.inter_mode
        assert mode is not None
        with mx.autograd.pause():
            evaluate = self._model.evaluator(mode, values)
            yield lambda batch: (
                floats(evaluate(batch), "hooks: monitor_info", mode),
                samples_of(batch),
            )

    # ---- Files -------------------------------------------------------------------------------

    def save(self, prefix: str) -> None:
        """Writes `<prefix>.params`."""
        write_arrays(prefix, self._variables.arrays())

    def restore(
        self, prefix: str, include: Callable[[str], bool], *, state: bool = True
    ) -> RestoreReport:
        """Reads `<prefix>.params`; all of it is checked before anything is changed."""
        return self._variables.take(read_arrays(prefix), include, state=state)

    def export(self, export_format: str, directory: str) -> None:
        """Writes the model into `directory`.

        Raises:
            EngineError: another format was asked for.
        """
        if export_format not in FORMATS:
            raise EngineError(f"engine 'mxnet' exports {', '.join(FORMATS)}, not {export_format}.")
        if isinstance(self._model, NeutralModel):
            made = Exported.of_neutral(self._model, self.export_spec, self.input_spec)
        else:
            made = Exported.of_native(
                self._model, self._example, {v.name: v for v in self._model_variables}
            )
        export_model(export_format, made, directory)


def _no_inputs() -> SpecError:
    return SpecError("mode EXPORT needs the inputs of a run; call mox.run(export_model=...).")


def _reached(losses: list[Any], store: VariableStore) -> list[set[str]]:
    """The names of the variables on which each loss depends; takes the gradients to find out."""
    parameters = store.parameters()
    context = losses[0].context
    arrays = {name: parameter.data(context) for name, parameter in parameters.items()}
    found = []
    for index, loss in enumerate(losses):
        for array in arrays.values():
            array._fresh_grad = False
        try:
            mx.autograd.backward([loss], retain_graph=index + 1 < len(losses))
        except mx.MXNetError:  # it was not computed from any variable
            found.append(set())
            continue
        found.append({name for name, array in arrays.items() if array._fresh_grad})
    return found
