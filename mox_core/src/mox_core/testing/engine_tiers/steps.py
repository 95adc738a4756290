"""Steps: what they compute, what they report, when they end."""

from __future__ import annotations

import numpy as np
import pytest

from mox_core.engine import Capabilities, Cluster, EngineConfig, Fetch
from mox_core.flags import get_flag
from mox_core.testing.engine_bench import (
    LEARNING_RATE,
    EngineBench,
    advance,
    losses,
    never,
    one_by_one,
)
from mox_core.testing.engine_problem import Reference, make_batches

__all__ = ["StepsTier"]


class StepsTier:
    """Required of every engine."""

    def test_engine_describes_itself(self, bench: EngineBench) -> None:
        engine = bench.new_engine()
        assert engine.name
        assert isinstance(engine.capabilities, Capabilities)
        described = engine.describe()
        assert described
        assert all(isinstance(text, str) for pair in described.items() for text in pair)

    def test_setup_says_who_we_are(self, bench: EngineBench) -> None:
        engine = bench.new_engine()
        cluster = engine.setup(EngineConfig(towers=1, get_flag=get_flag))
        engine.close()
        assert isinstance(cluster, Cluster)
        assert cluster.is_chief

    def test_a_program_that_was_never_started_can_be_closed(self, bench: EngineBench) -> None:
        """After an error between build and start; the bench closes it after the test."""
        assert bench.train(make_batches(1), start=False).towers == 1

    def test_losses_follow_the_reference(self, bench: EngineBench) -> None:
        batches = make_batches(12)
        reference = Reference(LEARNING_RATE)
        expected = [reference.step([batch]) for batch in batches]
        np.testing.assert_allclose(losses(bench.train(batches), 12), expected, rtol=1e-3)

    def test_values_are_those_of_log_info_in_its_order(self, bench: EngineBench) -> None:
        batch = make_batches(1)[0]
        results = bench.eval([batch]).run_steps(1, Fetch(values=True), never)
        assert [list(tower) for tower in results.values] == [["loss", "accuracy"]]
        assert all(isinstance(value, float) for value in results.values[0].values())
        reference = Reference(LEARNING_RATE)
        assert results.values[0]["loss"] == pytest.approx(reference.loss(batch), rel=1e-4)
        assert results.values[0]["accuracy"] == pytest.approx(reference.accuracy(batch))
        assert results.samples == [len(batch[1])]

    def test_values_come_only_when_asked_for(self, bench: EngineBench) -> None:
        results = bench.train(make_batches(2)).run_steps(2, Fetch(), never)
        assert (results.steps, results.ended) == (2, None)
        assert results.values == []
        assert results.outputs == []

    def test_several_steps_in_one_call_equal_single_steps(self, bench: EngineBench) -> None:
        batches = make_batches(6)
        together, apart = bench.train(batches), bench.train(batches)
        results = together.run_steps(6, Fetch(values=True), never)
        last = one_by_one(apart, 6)[-1]
        assert (results.steps, results.global_step, results.ended) == (6, 6, None)
        assert results.values[0] == pytest.approx(last.values[0], rel=1e-4)
        _assert_same_variables(together.variables(), apart.variables())

    def test_global_step_counts_updates(self, bench: EngineBench) -> None:
        program = bench.train(make_batches(5))
        assert program.global_step == 0
        assert [results.global_step for results in one_by_one(program, 2)] == [1, 2]
        advance(program, 3)
        assert program.global_step == 5

    def test_eval_and_predict_change_nothing(self, bench: EngineBench) -> None:
        batches = make_batches(3)
        for program in (bench.eval(batches), bench.predict(batches)):
            before = program.variables()
            advance(program, 3)
            assert program.global_step == 0
            _assert_same_variables(program.variables(), before)

    def test_outputs_come_from_every_step_in_order(self, bench: EngineBench) -> None:
        batches = make_batches(4)
        trained = bench.train(batches)
        advance(trained, 4)
        program = bench.predict(batches)
        names = program.variables().keys()
        program.assign({n: a for n, a in trained.variables().items() if n in names})
        reference = Reference(LEARNING_RATE)
        for batch in batches:
            reference.step([batch])
        results = program.run_steps(4, Fetch(outputs=True), never)
        assert [list(outputs) for outputs in results.outputs] == [["logits"]] * 4
        for outputs, (features, _) in zip(results.outputs, batches, strict=True):
            np.testing.assert_allclose(
                np.asarray(outputs["logits"]), reference.logits(features), rtol=1e-3, atol=1e-4
            )

    def test_end_of_data_ends_the_steps(self, bench: EngineBench) -> None:
        program = bench.train(make_batches(3))
        results = program.run_steps(5, Fetch(), never)
        assert (results.steps, results.global_step, results.ended) == (3, 3, "data")
        again = program.run_steps(1, Fetch(values=True), never)
        assert (again.steps, again.global_step, again.ended) == (0, 3, "data")

    def test_batches_may_differ_in_size(self, bench: EngineBench) -> None:
        batches = [*make_batches(2), *make_batches(1, size=3)]
        results = one_by_one(bench.eval(batches), 3)
        assert [result.samples for result in results] == [[8], [8], [3]]

    def test_stop_is_asked_before_every_step_but_the_first(self, bench: EngineBench) -> None:
        program = bench.train(make_batches(8))
        asked = 0

        def stop_at_the_third_time() -> bool:
            nonlocal asked
            asked += 1
            return asked == 3

        results = program.run_steps(8, Fetch(), stop_at_the_third_time)
        assert (results.steps, results.global_step, results.ended) == (3, 3, "stop")
        assert asked == 3
        results = program.run_steps(1, Fetch(), lambda: True)
        assert (results.steps, results.ended) == (1, None)

    def test_a_loss_that_is_not_finite_ends_the_steps(self, bench: EngineBench) -> None:
        batches = make_batches(5)
        batches[2][0][:] = np.nan
        program = bench.train(batches)
        results = program.run_steps(5, Fetch(), never)
        assert (results.steps, results.ended, results.nonfinite) == (3, "nan", ("loss",))

    def test_a_loss_that_is_not_finite_can_be_ignored(self, bench: EngineBench) -> None:
        batches = make_batches(5)
        program = bench.train(batches, stop_on_nan=False)
        advance(program, 2)
        assert program.nonfinite_variables() == []
        batches[2][0][:] = np.nan
        broken = bench.train(batches, stop_on_nan=False)
        advance(broken, 5)
        assert set(broken.nonfinite_variables()) >= {
            name for name, array in bench.predict(batches[:1]).variables().items() if array.ndim
        }

    def test_infos_describe_the_variables(self, bench: EngineBench) -> None:
        program = bench.train(make_batches(1))
        arrays = program.variables()
        described = {info.name: (info.shape, info.dtype) for info in program.variable_infos()}
        assert described == {name: (a.shape, a.dtype.name) for name, a in arrays.items()}
        assert len(described) == len(program.variable_infos())

    def test_assign_is_the_opposite_of_variables(self, bench: EngineBench) -> None:
        batches = make_batches(6)
        first, second = bench.train(batches), bench.train(batches[4:])
        advance(first, 4)
        second.assign(first.variables())
        _assert_same_variables(second.variables(), first.variables())
        assert second.global_step == 4
        np.testing.assert_allclose(losses(second, 2), losses(first, 2), rtol=1e-5)

    def test_variables_returns_copies(self, bench: EngineBench) -> None:
        program = bench.train(make_batches(4))
        advance(program, 1)
        before = program.variables()
        kept = {name: np.array(array) for name, array in before.items()}
        advance(program, 3)
        _assert_same_variables(before, kept)


def _assert_same_variables(got: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert got.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-5, atol=1e-6, err_msg=name)
