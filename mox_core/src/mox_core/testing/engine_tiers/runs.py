"""Whole runs: the engine under mox.run, as users call it."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import mox_core as mox
from mox_core.errors import CheckpointError, NanLossError
from mox_core.flags import registry, set_flag
from mox_core.spec import Mode, ModeKeys, ModelSpec
from mox_core.testing.engine_bench import LEARNING_RATE, EngineBench, MakeModel
from mox_core.testing.engine_problem import CLASSES, Batch, Reference, make_batches

__all__ = ["RunsTier"]

if TYPE_CHECKING:
    Run = Callable[..., mox.RunResult]
TRAIN, EVAL, PREDICT = ModeKeys.TRAIN, ModeKeys.EVAL, ModeKeys.PREDICT


class RunsTier:
    """Required of every engine; what needs a capability is skipped without it."""

    @pytest.fixture
    def run(self, bench: EngineBench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
        """mox.run on the problem: `run(mode, batches, **arguments)`."""
        monkeypatch.setattr("sys.argv", ["test"])
        for name in [name for name in os.environ if name.startswith("MOX_")]:
            monkeypatch.delenv(name)
        registry().reset()

        def run_problem(mode: Mode, batches: Sequence[Batch], **arguments: Any) -> mox.RunResult:
            fields: dict[str, Any] = {
                "input_fn": lambda mode, /: bench.inputs(batches),
                "model_fn": bench.model_fn(),
                "optimizer_fn": bench.optimizer_fn() if mode == TRAIN else None,
                "engine": bench.new_engine(),
            }
            return mox.run(run_mode=mode, **{**fields, **arguments})

        yield run_problem
        registry().reset()

    def test_trains_evaluates_and_predicts(self, run: Run, tmp_path: Path) -> None:
        batches = make_batches(40)
        trained = run(TRAIN, batches, log_dir=tmp_path)
        assert (trained.steps, trained.global_step) == (40, 40)
        reference = _reference(batches)

        held_out = [*make_batches(43)[40:], *make_batches(1, size=3)]
        evaluated = run(EVAL, held_out, log_dir=tmp_path)
        features, labels = (np.concatenate(parts) for parts in zip(*held_out, strict=True))
        whole = (features, labels)
        assert evaluated.metrics == pytest.approx(
            {"loss": reference.loss(whole), "accuracy": reference.accuracy(whole)}, rel=1e-3
        )
        assert evaluated.metrics["accuracy"] > 0.9
        assert (evaluated.steps, evaluated.global_step) == (4, 40)

        outputs: list[dict[str, Any]] = []
        predicted = run(PREDICT, held_out, checkpoint_path=tmp_path, output_fn=outputs.extend)
        assert predicted.steps == len(outputs) == 4
        for output, (features, _) in zip(outputs, held_out, strict=True):
            np.testing.assert_allclose(
                output["logits"], reference.logits(features), rtol=1e-3, atol=1e-3
            )

    def test_resumes_and_goes_on_counting(self, run: Run, tmp_path: Path) -> None:
        batches = make_batches(10)
        first = run(TRAIN, batches, log_dir=tmp_path, max_number_of_steps=4)
        assert (first.steps, first.global_step) == (4, 4)
        second = run(TRAIN, batches[4:], log_dir=tmp_path, max_number_of_steps=10)
        assert (second.steps, second.global_step) == (6, 10)
        reference = _reference(batches)
        evaluated = run(EVAL, batches[:1], log_dir=tmp_path)
        assert evaluated.metrics["loss"] == pytest.approx(reference.loss(batches[0]), rel=1e-3)
        third = run(TRAIN, batches, log_dir=tmp_path, max_number_of_steps=10)
        assert (third.steps, third.global_step) == (0, 10)

    def test_the_log_line_shows_log_info_in_its_order(self, run: Run, bench: EngineBench) -> None:
        logger = logging.getLogger(bench.new_engine().log_name)
        handler, level = _Collector(), logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            run(TRAIN, make_batches(5), log_every_n_steps=2)
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
        steps = [line for line in handler.lines if line.startswith("step: ")]
        assert [line.split("(")[0] for line in steps] == ["step: 0", "step: 2", "step: 4"]
        number = r"\d+\.\d{3}"
        metrics = rf"loss: {number}\taccuracy: {number}"
        pattern = rf"step: \d\(global step: \d\)\tsample/sec: {number}\t{metrics}"
        assert all(re.fullmatch(pattern, line) for line in steps), steps
        assert "loss: 1.099" in steps[0]  # the logarithm of 3 classes: zero weights

    def test_a_hook_ends_the_run(self, run: Run) -> None:
        class StopAfterThree(mox.RunHook):
            def on_step_end(self, run: Any, results: Any) -> None:
                if run.step == 3:
                    run.stop("three steps are enough")

        result = run(TRAIN, make_batches(8), hooks=[StopAfterThree()])
        assert (result.steps, result.stop_reason) == (3, "three steps are enough")

    def test_a_loss_that_is_not_finite_keeps_the_last_good_checkpoint(
        self, run: Run, tmp_path: Path
    ) -> None:
        batches = make_batches(6)
        batches[4][0][:] = np.nan
        with pytest.raises(NanLossError, match="(?s)loss"):
            run(TRAIN, batches, log_dir=tmp_path, save_model_steps=2)
        evaluated = run(EVAL, batches[:1], log_dir=tmp_path)
        assert evaluated.global_step == 4
        reference = _reference(batches[:4])
        assert evaluated.metrics["loss"] == pytest.approx(reference.loss(batches[0]), rel=1e-3)

    def test_evaluation_without_a_checkpoint_is_refused(self, run: Run, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match="EVAL needs a checkpoint"):
            run(EVAL, make_batches(1), log_dir=tmp_path)

    def test_towers_through_the_flag(self, run: Run, bench: EngineBench, tmp_path: Path) -> None:
        bench.require("towers")
        batches = make_batches(8)
        set_flag("num_gpus", 2)
        assert run(TRAIN, batches, log_dir=tmp_path).global_step == 4
        reference = Reference(LEARNING_RATE)
        for start in range(0, 8, 2):
            reference.step(batches[start : start + 2])
        outputs: list[dict[str, Any]] = []
        run(PREDICT, batches[:5], log_dir=tmp_path, output_fn=outputs.extend)
        assert len(outputs) == 5
        for output, (features, _) in zip(outputs, batches[:5], strict=True):
            np.testing.assert_allclose(
                output["logits"], reference.logits(features), rtol=1e-3, atol=1e-3
            )

    def test_early_stopping(self, run: Run, bench: EngineBench) -> None:
        bench.require("inter_mode")

        def make_spec(make_model: MakeModel, mode: Mode) -> ModelSpec:
            model = make_model("net", CLASSES)
            metrics = {"loss": model.loss, "accuracy": model.accuracy}
            hook = mox.EarlyStoppingHook(
                metrics, "loss", batch_size=8, samples_in_train=16, samples_in_eval=8, patience=3
            )
            return ModelSpec(loss=model.loss, log_info=metrics, hooks=[hook])

        batches = make_batches(20)
        result = run(
            TRAIN,
            (),
            input_fn=lambda mode, /: bench.inputs(batches if mode == TRAIN else batches[:1]),
            model_fn=bench.model_fn(make_spec),
            optimizer_fn=bench.optimizer_fn(0.0),
            inter_mode=EVAL,
        )
        assert result.steps == 8, "every second step is evaluated, the 4th time ends the run"
        assert result.stop_reason.startswith("early stopping")
        assert result.eval_metrics["loss"] == pytest.approx(np.log(CLASSES), rel=1e-3)

    def test_exports(self, run: Run, bench: EngineBench, tmp_path: Path) -> None:
        bench.require("export_formats")
        batches = make_batches(6)
        load = bench.problem.load_exported
        assert load is not None, "EngineProblem.load_exported is missing"
        for export_format in bench.new_engine().capabilities.export_formats:
            log_dir = tmp_path / export_format
            result = run(TRAIN, batches, log_dir=log_dir, export_model=export_format)
            assert result.export_dir == str(log_dir / "1")
            np.testing.assert_allclose(
                np.asarray(load(export_format, result.export_dir)(batches[0][0])),
                _reference(batches).logits(batches[0][0]),
                rtol=1e-3,
                atol=1e-3,
            )


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _reference(batches: Sequence[Batch]) -> Reference:
    reference = Reference(LEARNING_RATE)
    for batch in batches:
        reference.step([batch])
    return reference
