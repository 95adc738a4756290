"""Whole runs of neutral scripts: the engine chosen by its name, under mox.run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import mox_core as mox
from mox_core import nn
from mox_core.errors import SpecError
from mox_core.flags import registry
from mox_core.plugins import get_manager, hookimpl
from mox_core.testing.nn_bench import NNBench

__all__ = ["NeutralRunsTier"]

if TYPE_CHECKING:
    Run = Callable[..., mox.RunResult]
TRAIN, EVAL, PREDICT = mox.ModeKeys.TRAIN, mox.ModeKeys.EVAL, mox.ModeKeys.PREDICT
_NAME = "engine-under-test"


class _Plugin:
    """Makes the engine under test selectable by a name."""

    def __init__(self, make_engine: Callable[[], Any]) -> None:
        self._make_engine = make_engine

    @hookimpl
    def mox_engine(self, name: str) -> Any:
        return self._make_engine() if name == _NAME else None


def _samples(count: int, seed: int) -> tuple[Any, Any]:
    """Points in three clusters."""
    labels = np.arange(count) % 3
    centers = np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 3.0]])
    points = centers[labels] + np.random.default_rng(seed).normal(size=(count, 2))
    return points.astype(np.float32), labels.astype(np.int64)


def _input_fn(mode: str, /) -> Any:
    points, labels = _samples(240 if mode == TRAIN else 50, 0 if mode == TRAIN else 1)
    return [
        {"points": points[i : i + 20], "labels": labels[i : i + 20]}
        for i in range(0, len(labels), 20)
    ]


def _model_fn(inputs: Any, mode: str, /) -> mox.ModelSpec:
    x = nn.fully_connected(inputs["points"], 8, normalizer_fn=nn.batch_norm, scope="hidden")
    logits = nn.fully_connected(x, 3, activation_fn=None, scope="logits")
    loss = nn.sparse_softmax_cross_entropy(logits, inputs["labels"])
    metrics = {"loss": loss, "accuracy": nn.accuracy(logits, inputs["labels"])}
    hook = mox.EarlyStoppingHook(
        metrics, monitor="accuracy", batch_size=20, samples_in_train=120, samples_in_eval=50
    )
    return mox.ModelSpec(
        loss=loss,
        log_info=metrics,
        output_info={"class": nn.argmax(logits)},
        export_spec=mox.ExportSpec({"points": inputs["points"]}, {"logits": logits}),
        hooks=[hook],
    )


class NeutralRunsTier:
    """Required of every engine that runs neutral scripts."""

    @pytest.fixture
    def neutral_run(self, nn_bench: NNBench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
        """mox.run of the neutral problem: `neutral_run(mode, **arguments)`."""
        monkeypatch.setattr("sys.argv", ["test"])
        for name in [name for name in os.environ if name.startswith("MOX_")]:
            monkeypatch.delenv(name)
        registry().reset()
        get_manager().register(_Plugin(nn_bench.make_engine), _NAME, kind="engine")

        def run(mode: str, **arguments: Any) -> mox.RunResult:
            fields: dict[str, Any] = {
                "input_fn": _input_fn,
                "model_fn": _model_fn,
                "optimizer_fn": mox.get_optimizer_fn("adam", 0.05) if mode == TRAIN else None,
                "engine": _NAME,
            }
            return mox.run(run_mode=mode, **{**fields, **arguments})

        yield run
        get_manager().unregister(_NAME, kind="engine")
        registry().reset()

    def test_a_neutral_script_trains_evaluates_and_predicts(
        self, neutral_run: Run, tmp_path: Path
    ) -> None:
        trained = neutral_run(TRAIN, log_dir=tmp_path)
        assert (trained.steps, trained.global_step) == (12, 12)
        resumed = neutral_run(TRAIN, log_dir=tmp_path)
        assert (resumed.steps, resumed.global_step) == (12, 24)
        evaluated = neutral_run(EVAL, log_dir=tmp_path)
        outputs: list[dict[str, Any]] = []
        neutral_run(PREDICT, log_dir=tmp_path, output_fn=outputs.extend)
        predicted = np.concatenate([one["class"] for one in outputs])
        _, labels = _samples(50, 1)
        assert predicted.shape == labels.shape
        share = (predicted == labels).mean()
        assert evaluated.metrics["accuracy"] == pytest.approx(share)

    def test_a_neutral_script_evaluates_while_training(self, neutral_run: Run) -> None:
        result = neutral_run(TRAIN, inter_mode=EVAL)
        assert set(result.eval_metrics) == {"loss", "accuracy"}

    def test_a_neutral_script_batches_samples(self, neutral_run: Run) -> None:
        points, labels = _samples(45, 2)
        rows = [{"points": x, "labels": y} for x, y in zip(points, labels, strict=True)]
        result = neutral_run(TRAIN, input_fn=lambda mode, /: rows, batch_size=10)
        assert result.steps == 4

    def test_a_neutral_script_exports(
        self, nn_bench: NNBench, neutral_run: Run, tmp_path: Path
    ) -> None:
        formats = nn_bench.engine().capabilities.export_formats
        if not formats:
            pytest.skip("the engine exports nothing")
        result = neutral_run(TRAIN, log_dir=tmp_path, export_model=formats[0])
        assert result.export_dir is not None and os.listdir(result.export_dir)

    def test_variables_that_only_the_inter_mode_has(self, neutral_run: Run) -> None:
        def model_fn(inputs: Any, mode: str) -> Any:
            scope = "net" if mode == TRAIN else "other"
            loss = nn.l2_loss(nn.fully_connected(inputs["points"], 2, scope=scope))
            return mox.ModelSpec(loss=loss, log_info={"loss": loss})

        with pytest.raises(SpecError, match="new variable 'other/weights' in a later call"):
            neutral_run(TRAIN, model_fn=model_fn, inter_mode=EVAL)

    def test_a_shape_that_does_not_fit(self, neutral_run: Run) -> None:
        def model_fn(inputs: Any, mode: str) -> Any:
            with nn.variable_scope("net"):
                return nn.conv2d(inputs["points"], 4, kernel_size=3, scope="conv1")

        with pytest.raises(SpecError) as error:
            neutral_run(TRAIN, model_fn=model_fn)
        assert "nn.conv2d in scope 'net/conv1': expected an image batch" in str(error.value)
        assert "(None, 2)" in str(error.value)

    def test_a_later_batch_of_another_shape(self, neutral_run: Run) -> None:
        points, labels = _samples(20, 0)
        wide = np.concatenate([points, points], axis=1)
        batches = [{"points": points, "labels": labels}, {"points": wide, "labels": labels}]
        with pytest.raises(SpecError, match="points"):
            neutral_run(TRAIN, input_fn=lambda mode, /: batches)

    def test_a_later_batch_with_other_inputs(self, neutral_run: Run) -> None:
        points, labels = _samples(20, 0)
        batches = [{"points": points, "labels": labels}, {"points": points}]
        with pytest.raises(SpecError, match="inputs"):
            neutral_run(TRAIN, input_fn=lambda mode, /: batches)

    def test_a_monitored_value_that_is_no_scalar(self, neutral_run: Run) -> None:
        def model_fn(inputs: Any, mode: str) -> Any:
            loss = nn.l2_loss(nn.fully_connected(inputs["points"], 2))
            hook = mox.LogEvaluationMetricHook(
                {"points": inputs["points"]},
                batch_size=20,
                samples_in_train=120,
                samples_in_eval=50,
            )
            return mox.ModelSpec(loss=loss, log_info={"loss": loss}, hooks=[hook])

        with pytest.raises(SpecError, match="monitor_info"):
            neutral_run(TRAIN, model_fn=model_fn, inter_mode=EVAL)

    def test_a_native_optimizer_in_a_neutral_script(self, neutral_run: Run) -> None:
        with pytest.raises(SpecError, match="optimizer"):
            neutral_run(TRAIN, optimizer_fn=lambda: object())
