"""Checkpoints: what save writes and what restore does with it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mox_core.checkpoint import POINTER, pointer_text
from mox_core.engine import Engine, Fetch, Program
from mox_core.errors import CheckpointError
from mox_core.spec import Mode, ModelSpec
from mox_core.testing.engine_bench import (
    EngineBench,
    MakeModel,
    advance,
    never,
    restore_all,
    standard_spec,
)
from mox_core.testing.engine_problem import CLASSES, make_batches

__all__ = ["CheckpointsTier"]


class CheckpointsTier:
    """Required of every engine."""

    def test_save_writes_only_files_of_its_prefix(self, bench: EngineBench, tmp_path: Path) -> None:
        program = bench.train(make_batches(2))
        before = program.variables()
        program.save(str(tmp_path / "model.ckpt-7"))
        names = [path.name for path in tmp_path.iterdir()]
        assert names
        assert all(name.startswith("model.ckpt-7") for name in names)
        _assert_equal(program.variables(), before)

    def test_a_restored_program_continues_exactly(self, bench: EngineBench, tmp_path: Path) -> None:
        batches = make_batches(8)
        whole, begun = bench.train(batches), bench.train(batches)
        advance(whole, 8)
        advance(begun, 5)
        begun.save(str(tmp_path / "a"))
        resumed = bench.train(batches[5:])
        report = restore_all(resumed, str(tmp_path / "a"))
        assert report.missing_state == ()
        assert set(report.restored) == set(begun.variables())
        assert resumed.global_step == 5
        _assert_equal(resumed.variables(), begun.variables())
        advance(resumed, 3)
        assert resumed.global_step == 8
        _assert_close(resumed.variables(), whole.variables())

    def test_eval_and_predict_read_a_training_checkpoint(
        self, bench: EngineBench, tmp_path: Path
    ) -> None:
        batches = make_batches(5)
        program = bench.train(batches)
        advance(program, 4)
        program.save(str(tmp_path / "a"))
        expected = program.run_steps(1, Fetch(values=True), never).values[0]
        evaluated = bench.eval(batches[4:])
        restore_all(evaluated, str(tmp_path / "a"))
        got = evaluated.run_steps(1, Fetch(values=True), never).values[0]
        assert got == pytest.approx(expected, rel=1e-4)
        predicted = bench.predict(batches[4:])
        restore_all(predicted, str(tmp_path / "a"), state=False)
        logits = predicted.run_steps(1, Fetch(outputs=True), never).outputs[0]["logits"]
        right = np.asarray(logits).argmax(axis=1) == batches[4][1]
        assert right.mean() == pytest.approx(expected["accuracy"])

    def test_state_can_be_left_out(self, bench: EngineBench, tmp_path: Path) -> None:
        batches = make_batches(4)
        program = bench.train(batches)
        advance(program, 4)
        program.save(str(tmp_path / "a"))
        warm, fresh = bench.train(batches), bench.train(batches)
        report = restore_all(warm, str(tmp_path / "a"), state=False)
        kept = {*_model_names(bench), "global_step"}
        assert set(report.restored) == kept
        assert warm.global_step == 4
        _assert_equal(warm.variables(), program.variables(), only=kept)
        _assert_equal(warm.variables(), fresh.variables(), only=fresh.variables().keys() - kept)

    def test_state_that_is_missing_starts_afresh(self, bench: EngineBench, tmp_path: Path) -> None:
        batches = make_batches(3)
        trained = bench.train(batches)
        advance(trained, 3)
        evaluated = bench.eval(batches)
        names = evaluated.variables().keys()
        evaluated.assign({n: a for n, a in trained.variables().items() if n in names})
        evaluated.save(str(tmp_path / "a"))
        program, fresh = bench.train(batches), bench.train(batches)
        report = restore_all(program, str(tmp_path / "a"))
        state = fresh.variables().keys() - names
        assert set(report.missing_state) >= state
        assert state, "the optimizer's velocity has to be among the variables"
        _assert_equal(program.variables(), trained.variables(), only=_model_names(bench))
        _assert_equal(program.variables(), fresh.variables(), only=state)

    def test_include_chooses_variables(self, bench: EngineBench, tmp_path: Path) -> None:
        program = bench.train(make_batches(3))
        advance(program, 3)
        program.save(str(tmp_path / "a"))
        left_out = sorted(_model_names(bench))[0]
        partly, fresh = bench.train(make_batches(3)), bench.train(make_batches(3))
        report = partly.restore(str(tmp_path / "a"), lambda name: name != left_out)
        assert left_out not in (*report.restored, *report.missing, *report.mismatched)
        _assert_equal(partly.variables(), fresh.variables(), only={left_out})
        others = program.variables().keys() - {left_out}
        _assert_equal(partly.variables(), program.variables(), only=others)

    def test_shapes_that_differ_change_nothing(self, bench: EngineBench, tmp_path: Path) -> None:
        batches = make_batches(2)
        more = partial(standard_spec, classes=CLASSES + 1)
        _trained(bench, make_batches(3), make_spec=more).save(str(tmp_path / "a"))
        program = _trained(bench, batches)
        before = program.variables()
        report = program.restore(str(tmp_path / "a"), lambda name: True)
        model = _model_names(bench)
        assert model <= set(report.mismatched)
        for name in model:
            there, here = report.mismatched[name]
            assert tuple(here) == before[name].shape
            assert sorted(there) != sorted(here)
        _assert_equal(program.variables(), before)
        assert program.global_step == 2

    def test_missing_variables_change_nothing(self, bench: EngineBench, tmp_path: Path) -> None:
        batches = make_batches(2)
        program = _trained(bench, batches, make_spec=_two_parts)
        before = program.variables()
        _trained(bench, make_batches(3)).save(str(tmp_path / "a"))
        report = program.restore(str(tmp_path / "a"), lambda name: True)
        smaller = bench.eval(batches).variables().keys()
        larger = bench.eval(batches, make_spec=_two_parts).variables().keys()
        assert set(report.missing) == larger - smaller
        assert report.missing, "two scopes have to give two sets of variables"
        _assert_equal(program.variables(), before)

    def test_damaged_files_are_an_error(self, bench: EngineBench, tmp_path: Path) -> None:
        program = _trained(bench, make_batches(3))
        intact = tmp_path / "intact"
        intact.mkdir()
        program.save(str(intact / "model.ckpt-3"))
        damages: list[Callable[[bytes], bytes]] = [
            lambda content: content[: len(content) // 2],
            lambda content: b"",
            lambda content: b"\x07" * len(content),
        ]
        cases = [(path.name, damage) for path in intact.iterdir() for damage in damages]
        for number, (name, damage) in enumerate(cases):
            folder = tmp_path / str(number)
            shutil.copytree(intact, folder)
            (folder / name).write_bytes(damage((folder / name).read_bytes()))
            (folder / POINTER).write_text(pointer_text(["model.ckpt-2", "model.ckpt-3"]))
            message = _assert_refused(program, str(folder / "model.ckpt-3"))
            assert str(folder / "model.ckpt-2") in message, "raise mox_core.checkpoint.DamagedError"

    def test_foreign_checkpoints_are_described_or_not_known(
        self, bench: EngineBench, tmp_path: Path
    ) -> None:
        program = _trained(bench, make_batches(1))
        program.save(str(tmp_path / "a"))
        described = bench.engine().read_checkpoint(str(tmp_path / "a"))
        if described is not None:
            assert set(described) == set(program.variable_infos())
        assert bench.engine().read_checkpoint(str(tmp_path / "b")) is None

    def test_variables_are_read_and_written_without_a_program(
        self, bench: EngineBench, tmp_path: Path
    ) -> None:
        engine = bench.new_engine()
        if type(engine).write_variables is Engine.write_variables:
            pytest.skip(f"engine {engine.name!r} does not convert checkpoints")
        program = _trained(bench, make_batches(3))
        program.save(str(tmp_path / "a"))
        values = engine.read_variables(str(tmp_path / "a"))
        assert values is not None
        _assert_equal(dict(values), program.variables())
        engine.write_variables(str(tmp_path / "b"), values)
        assert all(path.name.startswith(("a", "b")) for path in tmp_path.iterdir())
        resumed = bench.train(make_batches(3))
        assert not restore_all(resumed, str(tmp_path / "b")).missing_state
        _assert_equal(resumed.variables(), program.variables())
        assert resumed.global_step == 3
        assert engine.read_variables(str(tmp_path / "c")) is None

    def test_what_else_a_checkpoint_holds_is_told(self, bench: EngineBench, tmp_path: Path) -> None:
        _trained(bench, make_batches(1), make_spec=_two_parts).save(str(tmp_path / "a"))
        program = bench.train(make_batches(1))
        report = restore_all(program, str(tmp_path / "a"))
        larger = bench.eval(make_batches(1), make_spec=_two_parts).variables().keys()
        assert larger - program.variables().keys() <= set(report.surplus)
        assert not set(report.surplus) & program.variables().keys()

    def test_files_that_are_not_there_are_an_error(
        self, bench: EngineBench, tmp_path: Path
    ) -> None:
        _assert_refused(_trained(bench, make_batches(3)), str(tmp_path / "model.ckpt-3"))


def _two_parts(make_model: MakeModel, mode: Mode) -> ModelSpec:
    """The standard model, and one more in a scope of its own whose accuracy is logged."""
    spec = standard_spec(make_model, mode)
    other = make_model("other", CLASSES)
    return ModelSpec(loss=spec.loss, log_info={**(spec.log_info or {}), "other": other.accuracy})


def _trained(bench: EngineBench, batches: Any, **request: Any) -> Program:
    program = bench.train(batches, **request)
    advance(program, len(batches))
    return program


def _model_names(bench: EngineBench) -> set[str]:
    """Names of the model's own variables: weights and bias."""
    program = bench.eval(make_batches(1))
    sizes = {info.name: int(np.prod(info.shape)) for info in program.variable_infos()}
    return {name for name, size in sizes.items() if size % CLASSES == 0}


def _assert_refused(program: Program, prefix: str) -> str:
    with pytest.raises(CheckpointError) as caught:
        program.restore(prefix, lambda name: True)
    message = str(caught.value)
    assert prefix in message, "the message has to name the checkpoint"
    assert len(message.splitlines()) <= 3, message
    return message


def _assert_equal(
    got: dict[str, Any], wanted: dict[str, Any], *, only: set[str] | None = None
) -> None:
    names = wanted.keys() if only is None else only
    assert only is not None or got.keys() == wanted.keys()
    for name in names:
        np.testing.assert_array_equal(got[name], wanted[name], err_msg=name)


def _assert_close(got: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, array in wanted.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-5, atol=1e-6, err_msg=name)
