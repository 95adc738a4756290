"""Several losses, each with its own optimizer and variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mox_core.errors import SpecError
from mox_core.spec import Mode, ModelSpec
from mox_core.testing.engine_bench import (
    LEARNING_RATE,
    EngineBench,
    MakeModel,
    one_by_one,
)
from mox_core.testing.engine_problem import CLASSES, Reference, make_batches

__all__ = ["MultiLossTier"]


class MultiLossTier:
    """Required of engines that declare `multi_loss`."""

    @pytest.fixture
    def losses_bench(self, bench: EngineBench) -> EngineBench:
        """Skips engines with one loss only."""
        return bench.require("multi_loss")

    def test_each_loss_has_its_optimizer(self, losses_bench: EngineBench) -> None:
        batches = make_batches(6)
        program = losses_bench.train(
            batches,
            make_spec=_two_losses([["left"], ["right"]]),
            optimizer_fns=(losses_bench.optimizer_fn(0.5), losses_bench.optimizer_fn(0.1)),
        )
        left, right = Reference(0.5), Reference(0.1)
        for batch, results in zip(batches, one_by_one(program, 6), strict=True):
            assert results.values[0] == pytest.approx(
                {"left": left.step([batch])[0], "right": right.step([batch])[0]}, rel=1e-3
            )
        assert program.global_step == 6

    def test_one_optimizer_fn_serves_all_losses(self, losses_bench: EngineBench) -> None:
        batches = make_batches(6)
        program = losses_bench.train(batches, make_spec=_two_losses([["left"], ["right"]]))
        reference = Reference(LEARNING_RATE)
        for batch, results in zip(batches, one_by_one(program, 6), strict=True):
            loss = reference.step([batch])[0]
            assert results.values[0] == pytest.approx({"left": loss, "right": loss}, rel=1e-3)

    def test_scopes_limit_what_a_loss_updates(self, losses_bench: EngineBench) -> None:
        def make_spec(make_model: MakeModel, mode: Mode) -> ModelSpec:
            left, right = (make_model(scope, CLASSES).loss for scope in ("left", "right"))
            return ModelSpec(
                loss=left + right, var_scopes=["left"], log_info={"left": left, "right": right}
            )

        batches = make_batches(6)
        program = losses_bench.train(batches, make_spec=make_spec)
        reference, untrained = Reference(LEARNING_RATE), Reference(LEARNING_RATE)
        for batch, results in zip(batches, one_by_one(program, 6), strict=True):
            assert results.values[0] == pytest.approx(
                {"left": reference.step([batch])[0], "right": untrained.loss(batch)}, rel=1e-3
            )

    def test_gradients_of_all_losses_are_taken_before_any_update(
        self, losses_bench: EngineBench
    ) -> None:
        def make_spec(make_model: MakeModel, mode: Mode) -> ModelSpec:
            loss = make_model("net", CLASSES).loss
            return ModelSpec(loss=[loss, loss], log_info={"loss": loss})

        batches = make_batches(6)
        program = losses_bench.train(batches, make_spec=make_spec)
        reference = Reference(2 * LEARNING_RATE)
        for batch, results in zip(batches, one_by_one(program, 6), strict=True):
            assert results.values[0]["loss"] == pytest.approx(reference.step([batch])[0], rel=1e-3)

    def test_a_scope_without_variables_is_refused(self, losses_bench: EngineBench) -> None:
        with pytest.raises(SpecError, match="nowhere") as caught:
            losses_bench.train(make_batches(1), make_spec=_two_losses([["left"], ["nowhere"]]))
        assert len(str(caught.value).splitlines()) <= 3

    def test_the_numbers_of_losses_and_optimizers_have_to_fit(
        self, losses_bench: EngineBench
    ) -> None:
        with pytest.raises(SpecError, match="(?s)optimizer_fn.*3"):
            losses_bench.train(
                make_batches(1),
                make_spec=_two_losses([["left"], ["right"]]),
                optimizer_fns=(losses_bench.optimizer_fn(),) * 3,
            )


def _two_losses(var_scopes: Any) -> Callable[[MakeModel, Mode], ModelSpec]:
    def make_spec(make_model: MakeModel, mode: Mode) -> ModelSpec:
        left, right = (make_model(scope, CLASSES).loss for scope in ("left", "right"))
        return ModelSpec(
            loss=[left, right], var_scopes=var_scopes, log_info={"left": left, "right": right}
        )

    return make_spec
