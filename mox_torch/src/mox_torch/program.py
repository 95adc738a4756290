"""TorchProgram: the user's functions, called in every step."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch

from mox_core.eager import EagerProgram, Rows
from mox_core.engine import Fetch, ProgramRequest, RestoreReport, StepResults
from mox_core.errors import EngineError
from mox_core.spec import Mode, ModeKeys, ModelSpec
from mox_torch.checkpoint_files import read_tensors, write_tensors
from mox_torch.distributed import Group
from mox_torch.export import FORMATS, example_inputs, export_program
from mox_torch.inputs import Batch, Feed, samples_of
from mox_torch.lr_schedulers import load_scheduler, scheduler_state
from mox_torch.model import RULES, InPrecision, Model, NativeModel, floats, to_numpy
from mox_torch.neutral import NeutralModel
from mox_torch.settings import Settings
from mox_torch.store import VariableStore
from mox_torch.updates import Trainer
from mox_torch.variables import Variables

__all__ = ["TorchProgram"]


class TorchProgram(EagerProgram[Batch]):
    """The user's functions and their variables.

    Args:
        request: what to build.
        settings: how to compute.
        group: the processes that train together; None for this one alone.
    """

    def __init__(
        self, request: ProgramRequest, settings: Settings, group: Group | None = None
    ) -> None:
        self._group: Group | None = group if request.mode == ModeKeys.TRAIN else None
        self.request = request
        self._settings = settings
        self._batches_per_tower = settings.accumulate if request.mode == ModeKeys.TRAIN else 1
        self._store = VariableStore(
            settings.device,
            adopt=self._adopt,
            trainable=settings.trainable,
            compiled=torch.compile if settings.compile else None,
        )
        kind = NeutralModel if request.neutral else NativeModel
        model = kind(request.model_fn, self._store)
        self._model: Model = model
        if settings.autocast is not None:
            self._model = InPrecision(model, settings.device.type, settings.autocast)
        self._trainer: Trainer | None = None
        mode = request.mode
        if mode == ModeKeys.EXPORT:
            first = example_inputs(request.input_spec, settings.device)
        else:
            self._feed = self._make_feed(mode)
            first = self._feed.first
        self._build(first)
        if request.inter_mode is not None:
            self._inter_feed = self._make_feed(request.inter_mode)
            self._store.frozen = True  # what only an evaluation has would never be trained
            with self._evaluating(), self._store:
                inter_spec = self._model(self._inter_feed.first, request.inter_mode)
            self.inter_hooks = RULES.hooks(inter_spec)
        self._store.freeze()
        self._synchronized = False
        self._waiting_is_dear = settings.device.type != "cpu"
        self._unseen: list[torch.Tensor] = []
        self._variables: Variables = Variables(
            self._store, [one.state for one in self._trainer.updates] if self._trainer else []
        )

    def _build(self, first: Batch) -> None:
        """Calls model_fn once, which makes the variables and shows the hooks."""
        mode = self.request.mode
        saved: list[torch.Tensor] = []

        def keep(tensor: torch.Tensor) -> int:
            saved.append(tensor)
            return len(saved) - 1

        # What autograd saves would stay in memory as long as the hooks hold their tensors.
        without_saving = torch.autograd.graph.saved_tensors_hooks(keep, saved.__getitem__)
        with without_saving, self._gradients(), self._store:
            spec = self._model(first, mode)
        RULES.check(spec, mode)
        self.hooks = RULES.hooks(spec)
        self.export_spec = RULES.export_spec(spec)
        self._loss_names = spec.loss_names()
        self.input_spec = _spec_of(first)
        if mode == ModeKeys.TRAIN:
            self._trainer = Trainer(
                self._store,
                spec,
                self.request.optimizer_fns,
                self._settings,
                group=self._group,
            )
        elif mode == ModeKeys.EXPORT:
            self._example = first, spec
        saved.clear()

    def _adopt(self, module: torch.nn.Module) -> torch.nn.Module:
        module = self._settings.adopt(module)
        return module if self.request.mode == ModeKeys.TRAIN else module.eval()

    def _make_feed(self, mode: Mode) -> Feed:
        request = self.request
        assert request.input_fn is not None
        return Feed(
            request.input_fn,
            mode,
            device=self._settings.device,
            batch_size=request.batch_size if request.auto_batch else None,
            keep_rest=mode != ModeKeys.TRAIN,
            channels_last=self._settings.channels_last,
        )

    def _gradients(self) -> AbstractContextManager[Any]:
        return torch.set_grad_enabled(self.request.mode == ModeKeys.TRAIN)

    @property
    def towers(self) -> int:
        """How many calls of model_fn make a step, not counting accumulated ones."""
        return 1 if self.request.mode == ModeKeys.EXPORT else self._settings.towers

    # ---- Steps -------------------------------------------------------------------------------

    def run_steps(self, n: int, fetch: Fetch, stop: Callable[[], bool]) -> StepResults:
        """Runs at most `n` steps."""
        results = StepResults(steps=0, global_step=self.global_step)
        trainer, last = self._trainer, _Step()
        if self._group and not self._synchronized:
            trained = [list(update.parameters) for update in trainer.updates] if trainer else []
            self._group.synchronize(self._store.tensors(), self.global_step, trained)
            self._synchronized = True
        try:
            with self._gradients(), self._store:
                self._run(results, last, n, fetch, stop)
        except Exception:
            if trainer and last.specs:  # the first call's was checked, later ones are not
                RULES.check(last.specs[-1], self.request.mode, losses=len(trainer.updates))
            raise
        if self._unseen:
            self._look_back(results)
        results.global_step = self.global_step
        if fetch.values and last.looked_at:
            count = self._batches_per_tower
            for i in range(0, len(last.specs), count):
                results.values.append(self._values(last.specs[i : i + count]))
                results.samples.append(_samples(last.batches[i : i + count]))
        return results

    def _run(
        self, results: StepResults, last: _Step, n: int, fetch: Fetch, stop: Callable[[], bool]
    ) -> None:
        """The steps themselves; `last` is the newest, also when an error ends them.

        Between two steps caches are cold: what little is done here costs microseconds, and a
        function that is called several of them.
        """
        feed, mode, trainer = self._feed, self.request.mode, self._trainer
        model = self._model.__call__  # quicker than the object, which packs its arguments first
        assert feed is not None, "a program of mode EXPORT runs no steps"
        variables, watched = self._variables, self.request.stop_on_nan
        per_tower, group = self._batches_per_tower, self._group
        whole = self._settings.towers * per_tower
        while results.steps < n:
            if results.steps and stop():
                results.ended = "stop"
                return
            batches = feed.take(whole)
            has_data = len(batches) == whole if trainer else bool(batches)
            if group or not has_data:
                results.ended = self._end_before_step(has_data=has_data)
                if results.ended:
                    return
            results.steps += 1
            looked_at = fetch.outputs or (fetch.values and results.steps == n)
            specs: list[ModelSpec] = []
            losses: list[torch.Tensor] = []
            last.batches, last.specs, last.looked_at = batches, specs, looked_at
            for number, batch in enumerate(batches, 1):
                spec = model(
                    batch,
                    mode,
                    losses_only=not looked_at and trainer is not None,
                    update=number <= per_tower,
                )
                specs.append(spec)
                if trainer:
                    losses += spec.losses
                    trainer.backward(spec.losses, last=number == whole)
            if fetch.outputs:
                results.outputs += map(_outputs, specs)
            if trainer:
                if watched and not self._are_finite(results, losses):
                    trainer.clear()
                    return
                trainer.apply(variables.global_step)
                variables.global_step += 1

    def _are_finite(self, results: StepResults, losses: list[torch.Tensor]) -> bool:
        """Looks at the losses of a step, before the update, which would spoil the variables."""
        if self._waiting_is_dear:
            self._unseen.append(torch.stack(losses).detach())
            return True
        for loss in losses:
            if not isfinite(loss.item()):
                results.ended, results.nonfinite = "nan", self._names_of_nonfinite(losses)
                return False
        return True

    def _look_back(self, results: StepResults) -> None:
        """Looks at the losses of all steps of this call at once, and waits for the device once."""
        rows = torch.stack(self._unseen).cpu()
        self._unseen = []
        bad = (~torch.isfinite(rows)).any(dim=1).nonzero().flatten().tolist()
        if bad:
            results.ended, results.steps = "nan", bad[0] + 1
            results.nonfinite = self._names_of_nonfinite(list(rows[bad[0]]))

    def _names_of_nonfinite(self, losses: list[torch.Tensor]) -> tuple[str, ...]:
        names = itertools.cycle(self._loss_names)
        bad = [name for name, loss in zip(names, losses, strict=False) if not loss.isfinite()]
        return tuple(dict.fromkeys(bad))

    def _values(self, specs: Sequence[ModelSpec]) -> dict[str, float]:
        """`log_info`, the mean over accumulated batches."""
        rows = [floats(one.log_info or {}, "log_info", self.request.mode) for one in specs]
        return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}

    # ---- Evaluation during training ----------------------------------------------------------

    def _evaluating(self) -> _Evaluating:
        return _Evaluating(self._store.root)

    @contextmanager
    def _evaluation(self, values: Mapping[str, Any]) -> Iterator[Callable[[Batch], Rows]]:
        """Calls model_fn in the inter mode, and looks up `values` in its result."""
        mode, feed = self.request.inter_mode, self._inter_feed
        assert feed is not None and mode is not None
        with self._evaluating(), self._store:
            evaluate = self._model.evaluator(feed.first, mode, values)
            yield lambda batch: (
                floats(evaluate(batch), "hooks: monitor_info", mode),
                samples_of(batch),
            )

    # ---- Files -------------------------------------------------------------------------------

    def save(self, prefix: str) -> None:
        """Writes `<prefix>.safetensors`."""
        trainer = self._trainer
        extra: dict[str, Any] = {}
        if trainer:
            extra["schedulers"] = [scheduler_state(one.scheduler) for one in trainer.updates]
            extra["scaler"] = trainer.scaler.state_dict() if trainer.scaler else None
        write_tensors(prefix, self._variables.tensors(), extra)

    def restore(
        self, prefix: str, include: Callable[[str], bool], *, state: bool = True
    ) -> RestoreReport:
        """Reads `<prefix>.safetensors`; all of it is checked before anything is changed."""
        saved, extra = read_tensors(prefix)
        report = self._variables.take(saved, include, state=state)
        fits = not report.missing and not report.mismatched
        if fits and state and self._trainer:
            states = extra.get("schedulers") or []
            for update, one in zip(self._trainer.updates, states, strict=False):
                load_scheduler(update.scheduler, one)
            if self._trainer.scaler and extra.get("scaler"):
                self._trainer.scaler.load_state_dict(extra["scaler"])
        return report

    def export(self, export_format: str, directory: str) -> None:
        """Writes the model into `directory`.

        Raises:
            EngineError: another format was asked for.
        """
        if export_format not in FORMATS:
            raise EngineError(f"engine 'torch' exports {', '.join(FORMATS)}, not {export_format}.")
        inputs, spec = self._example
        export_program(
            export_format,
            directory,
            model=self._model,
            store=self._store,
            inputs=inputs,
            spec=spec,
        )


@dataclass
class _Step:
    """A step: its batches, what model_fn returned for each, and whether all of that is there."""

    batches: Sequence[Batch] = ()
    specs: Sequence[ModelSpec] = ()
    looked_at: bool = False


class _Evaluating:
    """No gradients, and modules in evaluation mode; each gets its own mode back afterwards."""

    def __init__(self, root: torch.nn.Module) -> None:
        self._root = root
        self._grad = torch.no_grad()

    def __enter__(self) -> None:
        self._modes = {module: module.training for module in self._root.modules()}
        self._root.eval()
        self._grad.__enter__()

    def __exit__(self, *exception: Any) -> None:
        self._grad.__exit__(*exception)
        for module, training in self._modes.items():
            module.training = training


def _outputs(spec: ModelSpec) -> dict[str, Any]:
    """`output_info` as arrays."""
    return {name: to_numpy(value) for name, value in (spec.output_info or {}).items()}


def _samples(batches: Sequence[Batch]) -> int | None:
    counts = [samples_of(batch) for batch in batches]
    return None if None in counts else sum(counts)  # type: ignore[arg-type]


def _spec_of(batch: Batch) -> Any:
    """Shapes and dtypes of inputs, with positions or names as keys."""
    items = batch.items() if isinstance(batch, dict) else enumerate(batch)
    return {key: (tuple(tensor.shape), tensor.dtype) for key, tensor in items}
