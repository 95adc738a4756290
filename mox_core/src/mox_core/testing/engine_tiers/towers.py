"""Towers: replicas of the model that share its variables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mox_core.engine import Fetch
from mox_core.testing.engine_bench import (
    LEARNING_RATE,
    EngineBench,
    advance,
    losses,
    never,
    one_by_one,
    restore_all,
)
from mox_core.testing.engine_problem import Batch, Reference, make_batches

__all__ = ["TowersTier"]


class TowersTier:
    """Required of engines that declare `towers`."""

    @pytest.fixture
    def towers_bench(self, bench: EngineBench) -> EngineBench:
        """Skips engines without towers."""
        return bench.require("towers")

    def test_two_towers_equal_one_with_the_whole_batch(self, towers_bench: EngineBench) -> None:
        batches = make_batches(8)
        two = towers_bench.train(batches, towers=2)
        one = towers_bench.train(_joined(batches))
        assert (two.towers, one.towers) == (2, 1)
        advance(two, 4)
        advance(one, 4)
        assert two.global_step == 4
        got, wanted = two.variables(), one.variables()
        assert got.keys() == wanted.keys()
        for name, array in wanted.items():
            np.testing.assert_allclose(got[name], array, rtol=1e-4, atol=1e-6, err_msg=name)

    def test_each_tower_reports_its_own_batch(self, towers_bench: EngineBench) -> None:
        batches = make_batches(8)
        reference = Reference(LEARNING_RATE)
        expected = [reference.step(batches[i : i + 2]) for i in range(0, 8, 2)]
        program = towers_bench.train(batches, towers=2)
        np.testing.assert_allclose(losses(program, 4), expected, rtol=1e-3)

    def test_training_ends_before_a_step_without_a_batch_for_each_tower(
        self, towers_bench: EngineBench
    ) -> None:
        program = towers_bench.train(make_batches(5), towers=2)
        results = program.run_steps(4, Fetch(), never)
        assert (results.steps, results.global_step, results.ended) == (2, 2, "data")

    def test_evaluation_uses_the_last_batches_too(self, towers_bench: EngineBench) -> None:
        batches = [*make_batches(4), *make_batches(1, size=3)]
        program = towers_bench.eval(batches, towers=2)
        results = one_by_one(program, 3)
        assert [result.samples for result in results] == [[8, 8], [8, 8], [3]]
        assert [len(result.values) for result in results] == [2, 2, 1]
        assert program.run_steps(1, Fetch(), never).ended == "data"

    def test_outputs_are_ordered_by_step_then_by_tower(self, towers_bench: EngineBench) -> None:
        batches = [(np.full_like(x, i + 1), y) for i, (x, y) in enumerate(make_batches(5))]
        trained = towers_bench.train(make_batches(3))
        advance(trained, 3)
        program = towers_bench.predict(batches, towers=2)
        names = program.variables().keys()
        program.assign({n: a for n, a in trained.variables().items() if n in names})
        reference = Reference(LEARNING_RATE)
        for batch in make_batches(3):
            reference.step([batch])
        outputs = [
            output
            for _ in range(3)
            for output in program.run_steps(1, Fetch(outputs=True), never).outputs
        ]
        assert len(outputs) == 5
        for output, (features, _) in zip(outputs, batches, strict=True):
            np.testing.assert_allclose(
                np.asarray(output["logits"]), reference.logits(features), rtol=1e-3, atol=1e-4
            )

    def test_a_checkpoint_fits_any_number_of_towers(
        self, towers_bench: EngineBench, tmp_path: Path
    ) -> None:
        two = towers_bench.train(make_batches(4), towers=2)
        advance(two, 2)
        two.save(str(tmp_path / "a"))
        one = towers_bench.train(make_batches(4))
        report = restore_all(one, str(tmp_path / "a"))
        assert report.missing_state == ()
        assert one.variables().keys() == two.variables().keys()
        assert one.global_step == 2


def _joined(batches: list[Batch]) -> list[Batch]:
    """Pairs of batches as one batch each."""
    pairs = zip(batches[::2], batches[1::2], strict=True)
    return [(np.concatenate([a[0], b[0]]), np.concatenate([a[1], b[1]])) for a, b in pairs]
