"""Exported models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mox_core.engine import Program
from mox_core.errors import SpecError
from mox_core.spec import Mode, ModeKeys, ModelSpec
from mox_core.testing.engine_bench import (
    LEARNING_RATE,
    EngineBench,
    MakeModel,
    advance,
    restore_all,
)
from mox_core.testing.engine_problem import CLASSES, Reference, make_batches

__all__ = ["ExportTier"]


class ExportTier:
    """Required of engines that declare `export_formats`."""

    @pytest.fixture
    def export_bench(self, bench: EngineBench) -> EngineBench:
        """Skips engines that export nothing."""
        return bench.require("export_formats")

    def test_an_exported_model_computes_the_same(
        self, export_bench: EngineBench, tmp_path: Path
    ) -> None:
        batches = make_batches(6)
        trained = export_bench.train(batches)
        advance(trained, 6)
        trained.save(str(tmp_path / "a"))
        reference = Reference(LEARNING_RATE)
        for batch in batches:
            reference.step([batch])
        program = _export_program(export_bench, trained)
        restore_all(program, str(tmp_path / "a"), state=False)
        load = export_bench.problem.load_exported
        assert load is not None, "EngineProblem.load_exported is missing"
        for export_format in export_bench.engine().capabilities.export_formats:
            target = tmp_path / export_format
            program.export(export_format, str(target))
            features = make_batches(7)[-1][0]
            np.testing.assert_allclose(
                np.asarray(load(export_format, str(target))(features)),
                reference.logits(features),
                rtol=1e-3,
                atol=1e-4,
            )

    def test_an_exported_model_takes_any_batch(
        self, export_bench: EngineBench, tmp_path: Path
    ) -> None:
        """Where the engine batches, the size of the batch is not part of the model."""
        export_bench.require("auto_batch")
        samples = [sample for batch in make_batches(2) for sample in zip(*batch, strict=True)]
        fields: dict[str, Any] = {"batch_size": 8, "auto_batch": True}
        trained = export_bench.train(
            (), input_fn=lambda mode, /: export_bench.inputs(samples, batched=False), **fields
        )
        program = _export_program(export_bench, trained, **fields)
        load = export_bench.problem.load_exported
        assert load is not None, "EngineProblem.load_exported is missing"
        for export_format in export_bench.engine().capabilities.export_formats:
            target = tmp_path / export_format
            program.export(export_format, str(target))
            run = load(export_format, str(target))
            for size in (1, 5):
                assert np.shape(run(make_batches(1, size=size)[0][0])) == (size, CLASSES)

    def test_export_needs_an_export_spec(self, export_bench: EngineBench) -> None:
        def make_spec(make_model: MakeModel, mode: Mode) -> ModelSpec:
            return ModelSpec(loss=make_model("net", CLASSES).loss)

        trained = export_bench.train(make_batches(1), make_spec=make_spec)
        with pytest.raises(SpecError, match="(?s)export_spec.*EXPORT"):
            _export_program(export_bench, trained, make_spec=make_spec)


def _export_program(bench: EngineBench, trained: Program, **request: Any) -> Program:
    return bench.build(ModeKeys.EXPORT, input_fn=None, input_spec=trained.input_spec, **request)
