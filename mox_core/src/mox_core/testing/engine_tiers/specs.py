"""Specs and inputs: what the user's functions get and return, and what is refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from mox_core.engine import Fetch
from mox_core.errors import SpecError
from mox_core.hooks.base import RunHook
from mox_core.spec import Mode, ModeKeys, ModelSpec
from mox_core.testing.engine_bench import EngineBench, MakeModel, never, standard_spec
from mox_core.testing.engine_problem import CLASSES, Batch, Source, make_batches

__all__ = ["SpecsTier"]


class SpecsTier:
    """Required of every engine."""

    def test_model_fn_gets_a_list_and_the_mode(self, bench: EngineBench) -> None:
        seen = []

        def model_fn(inputs: Any, mode: Mode, /) -> ModelSpec:
            seen.append((type(inputs), len(inputs), mode))
            return standard_spec(lambda *args: bench.problem.model(inputs, *args), mode)

        for mode in (ModeKeys.TRAIN, ModeKeys.EVAL, ModeKeys.PREDICT):
            bench.build(mode, make_batches(1), model_fn=model_fn)
            assert seen
            assert all(one == (list, 2, mode) for one in seen)
            seen.clear()

    def test_input_fn_is_called_once_with_the_mode(self, bench: EngineBench) -> None:
        seen = []

        def input_fn(mode: Mode, /) -> Any:
            seen.append(mode)
            return bench.inputs(make_batches(3))

        program = bench.eval((), input_fn=input_fn)
        program.run_steps(3, Fetch(), never)
        assert seen == [ModeKeys.EVAL]

    def test_run_hooks_of_the_spec_are_handed_on(self, bench: EngineBench) -> None:
        hook = RunHook()
        program = bench.train(make_batches(1), make_spec=_spec_with(hooks=[hook]))
        assert program.hooks == (hook,)

    @pytest.mark.parametrize(
        ("mode", "returned", "named"),
        [
            (ModeKeys.TRAIN, lambda model: None, "None"),
            (ModeKeys.TRAIN, lambda model: {"loss": model.loss}, "dict"),
            (ModeKeys.TRAIN, lambda model: ModelSpec(log_info={"loss": model.loss}), "loss"),
            (ModeKeys.EVAL, lambda model: ModelSpec(loss=model.loss), "log_info"),
            (ModeKeys.PREDICT, lambda model: ModelSpec(loss=model.loss), "output_info"),
            (ModeKeys.TRAIN, lambda model: ModelSpec(loss=model.logits), "loss"),
            (
                ModeKeys.EVAL,
                lambda model: ModelSpec(log_info={"grid": model.logits}),
                "log_info.*grid",
            ),
            (
                ModeKeys.TRAIN,
                lambda model: ModelSpec(loss=model.loss, hooks=[object()]),
                r"hooks\[0\].*object",
            ),
        ],
        ids=[
            "nothing",
            "no_spec",
            "no_loss",
            "no_log_info",
            "no_output_info",
            "loss_no_scalar",
            "log_info_no_scalar",
            "hook_of_no_kind",
        ],
    )
    def test_a_spec_that_does_not_fit_is_refused(
        self, bench: EngineBench, mode: Mode, returned: Callable[[Any], Any], named: str
    ) -> None:
        def make_spec(make_model: MakeModel, mode: Mode) -> Any:
            return returned(make_model("net", CLASSES))

        _assert_refused(named, lambda: bench.build(mode, make_batches(1), make_spec=make_spec))

    def test_an_input_fn_that_returns_nothing_is_refused(self, bench: EngineBench) -> None:
        _assert_refused(
            "(?=.*TRAIN)input_fn.*None", lambda: bench.train((), input_fn=lambda mode, /: None)
        )

    def test_an_optimizer_fn_that_returns_nothing_is_refused(self, bench: EngineBench) -> None:
        _assert_refused(
            "optimizer_fn.*None",
            lambda: bench.train(make_batches(1), optimizer_fns=(lambda: None,)),
        )

    def test_tensors_of_another_framework_are_refused(self, bench: EngineBench) -> None:
        foreign = type("Foreign", (), {"__module__": "other.framework"})
        for fields, named in (
            ({"loss": foreign()}, "loss"),
            ({"log_info": {"a": foreign()}}, "log_info.*a"),
        ):
            mode = ModeKeys.TRAIN if "loss" in fields else ModeKeys.EVAL
            returned = ModelSpec(**fields)
            _assert_refused(
                f"{named}.*Foreign",
                lambda mode=mode, returned=returned: bench.build(  # type: ignore[misc]
                    mode, make_batches(1), make_spec=lambda *given: returned
                ),
            )

    def test_variables_that_are_new_in_a_later_step_are_refused(self, bench: EngineBench) -> None:
        if bench.new_engine().capabilities.graph:
            pytest.skip("model_fn is not called in every step")
        names = (f"net{number}" for number in itertools.count())

        def make_spec(make_model: MakeModel, mode: Mode) -> ModelSpec:
            return ModelSpec(loss=make_model(next(names), CLASSES).loss)

        program = bench.train(make_batches(2), make_spec=make_spec)
        _assert_refused("net1.*later (step|call)", lambda: program.run_steps(1, Fetch(), never))

    @pytest.mark.parametrize(
        ("changed", "named"),
        [
            (lambda model: model.logits, "loss has shape"),
            (lambda model: 1.5, "loss is a float"),
            (lambda model: [model.loss, model.loss], "loss has 2 losses in a later step"),
        ],
        ids=["shape", "kind", "number"],
    )
    def test_a_loss_that_changes_in_a_later_step_is_refused(
        self, bench: EngineBench, changed: Callable[[Any], Any], named: str
    ) -> None:
        if bench.new_engine().capabilities.graph:
            pytest.skip("model_fn is not called in every step")
        losses: Iterator[Callable[[Any], Any]] = itertools.chain(
            [lambda model: model.loss], itertools.repeat(changed)
        )

        def make_spec(make_model: MakeModel, mode: Mode) -> ModelSpec:
            return ModelSpec(loss=next(losses)(make_model("net", CLASSES)))

        program = bench.train(make_batches(2), make_spec=make_spec)
        before = program.variables()
        _assert_refused(named, lambda: program.run_steps(1, Fetch(), never))
        for name, array in program.variables().items():
            np.testing.assert_array_equal(array, before[name], err_msg=name)

    def test_variables_that_only_the_inter_mode_has_are_refused(self, bench: EngineBench) -> None:
        def make_spec(make_model: MakeModel, mode: Mode) -> ModelSpec:
            model = make_model("net" if mode == ModeKeys.TRAIN else "other", CLASSES)
            return ModelSpec(loss=model.loss, log_info={"loss": model.loss})

        bench.require("inter_mode")
        with pytest.raises(Exception, match="other"):  # TensorFlow's own error is as good
            bench.train(make_batches(1), make_spec=make_spec, inter_mode=ModeKeys.EVAL)

    def test_an_error_in_model_fn_reaches_the_user(self, bench: EngineBench) -> None:
        def model_fn(inputs: Any, mode: Mode, /) -> ModelSpec:
            raise ValueError("the model is wrong in line 17")

        with pytest.raises(Exception, match="the model is wrong in line 17"):
            bench.train(make_batches(1), model_fn=model_fn).run_steps(1, Fetch(), never)

    def test_an_error_in_the_data_reaches_the_user(self, bench: EngineBench) -> None:
        def broken() -> Iterator[Batch]:
            yield from make_batches(2)
            raise ValueError("file 17 cannot be read")

        with pytest.raises(Exception, match="file 17 cannot be read"):
            bench.train(
                (), input_fn=lambda mode, /: bench.problem.inputs(Source(broken))
            ).run_steps(5, Fetch(), never)


def _spec_with(**fields: Any) -> Callable[[MakeModel, Mode], ModelSpec]:
    return lambda make_model, mode: ModelSpec(loss=make_model("net", CLASSES).loss, **fields)


def _assert_refused(pattern: str, build: Callable[[], Any]) -> None:
    with pytest.raises(SpecError, match=f"(?s){pattern}") as caught:
        build()
    assert len(str(caught.value).splitlines()) <= 3, str(caught.value)
