"""Flags about gradients and about what is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from mox_core.errors import FlagError
from mox_core.flags import registry, set_flag
from mox_core.spec import Mode, ModelSpec
from mox_core.testing.engine_bench import LEARNING_RATE, EngineBench, MakeModel, advance, losses
from mox_core.testing.engine_problem import CLASSES, Reference, make_batches

__all__ = ["FlagsTier"]

SetFlags = Callable[..., None]


class FlagsTier:
    """Required of engines whose `Capabilities.flags` hold them."""

    @pytest.fixture
    def flags(self, bench: EngineBench, monkeypatch: pytest.MonkeyPatch) -> Iterator[SetFlags]:
        """Sets flags: `flags(gradient_clip=1.0)`. Skips engines that do not honour them."""
        monkeypatch.setattr("sys.argv", ["test"])
        registry().reset()

        def set_all(**values: Any) -> None:
            engine = bench.new_engine()
            for name, value in values.items():
                if name not in engine.capabilities.flags:
                    pytest.skip(f"engine {engine.name!r} does not honour --{name}")
                set_flag(name, value)

        yield set_all
        registry().reset()

    @pytest.mark.parametrize("kind", ["norm", "value"])
    def test_gradients_are_clipped(self, bench: EngineBench, flags: SetFlags, kind: str) -> None:
        flags(gradient_clip=0.01, gradient_clip_type=kind)
        program = bench.train(make_batches(1))
        before = program.variables()
        advance(program, 1)
        after = program.variables()
        model = {info.name for info in program.variable_infos() if not info.state}
        steps = [(before[name] - after[name]) / LEARNING_RATE for name in model]
        if kind == "value":
            assert max(np.abs(one).max() for one in steps) == pytest.approx(0.01, rel=1e-3)
        else:
            norm = np.sqrt(sum(np.square(one).sum() for one in steps))
            assert norm == pytest.approx(0.01, rel=1e-3)

    def test_a_loss_scale_changes_no_result(self, bench: EngineBench, flags: SetFlags) -> None:
        flags(loss_scale=1024.0)
        batches, reference = make_batches(6), Reference(LEARNING_RATE)
        expected = [reference.step([batch]) for batch in batches]
        np.testing.assert_allclose(losses(bench.train(batches), 6), expected, rtol=1e-3)

    @pytest.mark.parametrize(
        "given", [{"trainable_include_patterns": "left"}, {"trainable_exclude_patterns": "right"}]
    )
    def test_patterns_choose_what_is_trained(
        self, bench: EngineBench, flags: SetFlags, given: dict[str, str]
    ) -> None:
        def make_spec(make_model: MakeModel, mode: Mode) -> ModelSpec:
            left, right = (make_model(scope, CLASSES).loss for scope in ("left", "right"))
            return ModelSpec(loss=left + right)

        bench.require("multi_loss")
        flags(**given)
        program = bench.train(make_batches(2), make_spec=make_spec)
        before = program.variables()
        advance(program, 2)
        changed = {n for n, a in program.variables().items() if not np.array_equal(a, before[n])}
        model = {info.name for info in program.variable_infos() if not info.state}
        assert {name.partition("/")[0] for name in changed & model} == {"left"}

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"gradient_clip": 1.0}, "gradient_clip_type is None"),
            ({"gradient_clip_type": "norm"}, "gradient_clip is None"),
            ({"gradient_clip_type": "value", "gradient_clip": 0.0}, "gradient_clip is 0.0"),
            ({"loss_scale": -1.0}, "loss_scale is -1.0"),
            ({"trainable_include_patterns": "("}, "not a regular expression"),
        ],
        ids=["no_type", "no_limit", "a_limit_of_0", "a_negative_scale", "no_pattern"],
    )
    def test_flags_that_do_not_fit_are_refused(
        self, bench: EngineBench, flags: SetFlags, given: dict[str, Any], message: str
    ) -> None:
        flags(**given)
        with pytest.raises(FlagError, match=message):
            bench.train(make_batches(1))
