"""Engines with one fault each, and the test of EngineSuite that has to catch it.

Run by test_toy_engine.py in a pytest of its own, since its tests are there to fail.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mox_core.engine import RestoreReport
from mox_core.errors import CheckpointError, SpecError
from mox_core.nn.feed import Feed
from mox_core.spec import ModeKeys
from mox_core.testing import EngineSuite, ToyEngine
from mox_core.testing.engine_bench import never
from mox_core.testing.toy_engine import GLOBAL_STEP, ToyProgram
from mox_core.testing.toy_nn import gradients
from mox_core.testing.toy_problem import TOY_PROBLEM


class FaultySuite(EngineSuite):
    program: type[ToyProgram]
    caught_by: str

    @pytest.fixture
    def make_engine(self):
        program = self.program

        class FaultyEngine(ToyEngine):
            def build(self, request):
                return program(request, self._towers)

        return FaultyEngine

    @pytest.fixture
    def problem(self):
        return TOY_PROBLEM


class TestLosesOptimizerState(FaultySuite):
    caught_by = "test_a_restored_program_continues_exactly"

    class program(ToyProgram):
        def restore(self, prefix, include, *, state=True):
            report = super().restore(prefix, include, state=state)
            for update in self._updates:
                for slots in update.slots.values():
                    slots["momentum"][...] = 0
            return report


class TestForgetsTheGlobalStep(FaultySuite):
    caught_by = "test_resumes_and_goes_on_counting"

    class program(ToyProgram):
        def restore(self, prefix, include, *, state=True):
            return super().restore(
                prefix, lambda name: name != GLOBAL_STEP and include(name), state=state
            )


class TestIgnoresInclude(FaultySuite):
    caught_by = "test_include_chooses_variables"

    class program(ToyProgram):
        def restore(self, prefix, include, *, state=True):
            return super().restore(prefix, lambda name: True, state=state)


class TestRestoresWhatFits(FaultySuite):
    caught_by = "test_shapes_that_differ_change_nothing"

    class program(ToyProgram):
        def restore(self, prefix, include, *, state=True):
            report = super().restore(prefix, include, state=state)
            if report.mismatched:
                super().restore(prefix, lambda name: name not in report.mismatched, state=state)
            return report


class TestAcceptsDamage(FaultySuite):
    caught_by = "test_damaged_files_are_an_error"

    class program(ToyProgram):
        def restore(self, prefix, include, *, state=True):
            try:
                return super().restore(prefix, include, state=state)
            except CheckpointError:
                return RestoreReport(())


class TestSwapsTowers(FaultySuite):
    caught_by = "test_outputs_are_ordered_by_step_then_by_tower"

    class program(ToyProgram):
        def run_steps(self, n, fetch, stop):
            results = super().run_steps(n, fetch, stop)
            results.outputs.reverse()
            return results


class TestReportsTheFirstTowerTwice(FaultySuite):
    caught_by = "test_each_tower_reports_its_own_batch"

    class program(ToyProgram):
        def run_steps(self, n, fetch, stop):
            results = super().run_steps(n, fetch, stop)
            results.values = results.values[:1] * len(results.values)
            return results


class TestSumsGradients(FaultySuite):
    caught_by = "test_two_towers_equal_one_with_the_whole_batch"

    class program(ToyProgram):
        def _update(self, calls):
            for call in calls:
                super()._update([call])
                self._global_step -= 1
            self._global_step += 1


class TestLosesTheLastBatches(FaultySuite):
    caught_by = "test_evaluation_uses_the_last_batches_too"

    class program(ToyProgram):
        def _next_batches(self):
            batches = super()._next_batches()
            return batches if len(batches) == self.towers else []


class TestIgnoresStop(FaultySuite):
    caught_by = "test_stop_is_asked_before_every_step_but_the_first"

    class program(ToyProgram):
        def run_steps(self, n, fetch, stop):
            return super().run_steps(n, fetch, never)


class TestIgnoresNan(FaultySuite):
    caught_by = "test_a_loss_that_is_not_finite_ends_the_steps"

    class program(ToyProgram):
        def __init__(self, request, towers):
            super().__init__(replace(request, stop_on_nan=False), towers)


class TestReportsTheFirstStep(FaultySuite):
    caught_by = "test_several_steps_in_one_call_equal_single_steps"

    class program(ToyProgram):
        def run_steps(self, n, fetch, stop):
            first = super().run_steps(1, fetch, stop)
            if n == 1 or first.ended:
                return first
            rest = super().run_steps(n - 1, fetch, stop)
            return replace(rest, steps=1 + rest.steps, values=first.values)


class TestTakesErrorsForTheEnd(FaultySuite):
    caught_by = "test_an_error_in_the_data_reaches_the_user"

    class program(ToyProgram):
        def _next_batches(self):
            try:
                return super()._next_batches()
            except ValueError:
                return []


class TestTrainsInEvaluation(FaultySuite):
    caught_by = "test_eval_and_predict_change_nothing"

    class program(ToyProgram):
        def run_steps(self, n, fetch, stop):
            results = super().run_steps(n, fetch, stop)
            if self.request.mode != ModeKeys.TRAIN:
                for variable in self._store.variables.values():
                    variable.value = variable.value + np.float32(0.01)
            return results


class TestSkipsAWrongSpec(FaultySuite):
    caught_by = "test_a_spec_that_does_not_fit_is_refused[loss_no_scalar]"

    class program(ToyProgram):
        def _call_model(self, mode, batch):
            try:
                return super()._call_model(mode, batch)
            except SpecError as error:
                if "scalar" not in str(error):
                    raise
                return self._call_model(ModeKeys.EXPORT, batch)


class TestUpdatesAfterEachLoss(FaultySuite):
    caught_by = "test_gradients_of_all_losses_are_taken_before_any_update"

    class program(ToyProgram):
        def _update(self, calls):
            batches = [{k: t.value for k, t in call.inputs.items()} for call in calls]
            for index, update in enumerate(self._updates):
                for call in [self._call_model(self.request.mode, batch) for batch in batches]:
                    found = gradients(call.spec.losses[index])
                    for variable, slots in update.slots.items():
                        variable.value = update.optimizer.update(
                            variable.value, found[variable], slots, self._global_step
                        )
            self._global_step += 1


class TestEvaluatesOnce(FaultySuite):
    caught_by = "test_evaluation_goes_on_where_it_was_and_begins_again"

    class program(ToyProgram):
        def _make_feed(self, mode):
            feed = super()._make_feed(mode)
            feed.take_again = lambda: Feed.take(feed, 1)
            return feed


class TestExportsFreshVariables(FaultySuite):
    caught_by = "test_an_exported_model_computes_the_same"

    class program(ToyProgram):
        def export(self, export_format, directory):
            for variable in self._store.variables.values():
                variable.value = np.zeros_like(variable.value)
            super().export(export_format, directory)


class TestDropsTheRest(FaultySuite):
    caught_by = "test_evaluation_and_prediction_keep_the_rest"

    class program(ToyProgram):
        def _make_feed(self, mode):
            return super()._make_feed(ModeKeys.TRAIN)
