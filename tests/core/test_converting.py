"""Checkpoints that move between engines: here two toy engines whose files differ."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest

import mox_core as mox
from mox_core.checkpoint import latest_checkpoint, read_record
from mox_core.cli import main
from mox_core.errors import CheckpointError
from mox_core.plugins import get_manager, hookimpl
from mox_core.testing import ToyEngine
from mox_core.testing import toy_nn as toy
from mox_core.testing.toy_engine import ToyProgram

pytest.importorskip("safetensors", reason="an optional need of mox-core")


class OtherProgram(ToyProgram):
    """Keeps its variables in files of another kind."""

    def save(self, prefix):
        Other.write_variables(None, prefix, self.variables())

    def restore(self, prefix, include, *, state=True):
        if not os.path.isfile(f"{prefix}.other"):
            raise CheckpointError(f"{prefix} has no file of the other engine.")
        os.rename(f"{prefix}.other", f"{prefix}.npz")
        try:
            return super().restore(prefix, include, state=state)
        finally:
            os.rename(f"{prefix}.npz", f"{prefix}.other")


class Other(ToyEngine):
    name = "other"

    def build(self, request):
        return OtherProgram(request, 1)

    def read_checkpoint(self, prefix):
        values = self.read_variables(prefix)
        return values if values is None else []

    def read_variables(self, prefix):
        path = f"{prefix}.other"
        if not os.path.isfile(path):
            return None
        with np.load(path) as archive:
            return {name.removeprefix("variables/"): archive[name] for name in archive.files}

    def write_variables(self, prefix, values):
        ToyEngine.write_variables(self, prefix, values)
        os.rename(f"{prefix}.npz", f"{prefix}.other")


class ReadOnly(Other):
    """As engines are whose authors left both methods out."""

    name = "readonly"

    def write_variables(self, prefix, values):
        super(ToyEngine, self).write_variables(prefix, values)


class Plugin:
    @hookimpl
    def mox_engine(self, name):
        return {"toy": ToyEngine, "other": Other, "readonly": ReadOnly}[name]()


@pytest.fixture(autouse=True)
def engines(monkeypatch):
    # Frameworks that are installed would be asked too, which takes long.
    monkeypatch.setattr(get_manager(), "only", frozenset({"file", "memory"}))
    names = ("toy", "other", "readonly")
    for name in names:
        get_manager().register(Plugin(), name, kind="engine")
    yield
    for name in names:
        get_manager().unregister(name, kind="engine")


class Counts(mox.RunHook):
    """A hook with a state."""

    state_key = "counts"
    count = 0

    def on_step_end(self, run, results):
        self.count += 1

    def state(self):
        return self.count

    def load_state(self, state):
        self.count = state


@pytest.fixture
def trained(problem, tmp_path):
    folder = tmp_path / "toy"
    problem.run(log_dir=folder, max_number_of_steps=5, engine=ToyEngine())
    return folder


def variables(folder, engine):
    return engine().read_variables(latest_checkpoint(str(folder)))


def convert(*arguments):
    return main(["checkpoint", "convert", *map(str, arguments)])


def test_a_run_goes_on_with_another_engine(problem, trained, tmp_path, capsys):
    alone = problem.run(log_dir=tmp_path / "alone", max_number_of_steps=9, log_every_n_steps=1)
    assert convert(trained, tmp_path / "other", "--to", "other") == 0
    assert capsys.readouterr().out.splitlines() == [
        str(tmp_path / "other" / "model.ckpt-5"),
        f"  from     {trained / 'model.ckpt-5'} (toy)",
        "  step     5",
        "  holds    5 variables, 19 numbers",
        "  note     a script of engine 'toy' itself made them: another engine finds only what has "
        "its names, shapes and layouts",
    ]
    assert read_record(str(tmp_path / "other" / "model.ckpt-5"))["engine"] == "other"

    def rest(mode):
        return list(problem.input_fn(mode))[5:]

    resumed = problem.run(
        log_dir=tmp_path / "other",
        max_number_of_steps=9,
        log_every_n_steps=1,
        engine=Other(),
        input_fn=rest,
    )
    assert (resumed.steps, resumed.global_step) == (4, 9)
    assert resumed.metrics["loss"] == pytest.approx(alone.metrics["loss"], rel=1e-5)


def test_there_and_back_is_the_same(trained, tmp_path):
    weights = tmp_path / "weights.safetensors"
    assert convert(trained / "model.ckpt-5", weights, "--to", "safetensors") == 0
    assert weights.stat().st_mode == (trained / "metrics.jsonl").stat().st_mode
    assert convert(weights, tmp_path / "other", "--to", "other") == 0
    assert convert(tmp_path / "other", tmp_path / "back", "--to", "toy") == 0
    before, after = variables(trained, ToyEngine), variables(tmp_path / "back", ToyEngine)
    assert before.keys() == after.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)
        assert (after[name].dtype, after[name].shape) == (value.dtype, value.shape)


def test_the_state_of_hooks_goes_along(problem, tmp_path):
    folder, hook = tmp_path / "toy", Counts()
    problem.run(log_dir=folder, max_number_of_steps=5, hooks=[hook])
    assert convert(folder, tmp_path / "other", "--to", "other") == 0
    again = Counts()
    problem.run(log_dir=tmp_path / "other", max_number_of_steps=7, hooks=[again], engine=Other())
    assert again.count == 7


def test_a_checkpoint_without_a_record(trained, tmp_path):
    """As other programs write them: the engines are asked which of them reads it."""
    (trained / "model.ckpt-5.mox.json").unlink()
    assert convert(trained / "model.ckpt-5", tmp_path / "other", "--to", "other") == 0
    assert set(variables(tmp_path / "other", Other)) == set(variables(trained, ToyEngine))


def test_in_a_store(trained, tmp_path):
    mox.file.copy_parallel(str(trained), "memory://runs/toy")
    try:
        assert convert("memory://runs/toy", "memory://runs/other/", "--to", "other") == 0
        assert set(mox.file.list_directory("memory://runs/other")) == {
            "checkpoint",
            "model.ckpt-5.mox.json",
            "model.ckpt-5.other",
        }
        assert convert("memory://runs/other", tmp_path / "back", "--to", "toy") == 0
    finally:
        mox.file.remove("memory://runs/", recursive=True)
    assert set(variables(tmp_path / "back", ToyEngine)) == set(variables(trained, ToyEngine))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{toy}/none", "{new}", "other"), "no checkpoint at '{toy}/none'."),
        (("{toy}", "{new}", "toys"), "engine 'toys' is not installed"),
        (("{toy}", "{toy}", "other"), "{toy} holds a checkpoint already (model.ckpt-5)."),
        (("{toy}", "{file}", "other"), "{file} is a file; the checkpoint needs a folder"),
        (("{file}", "{new}", "other"), "{file} is no checkpoint that an installed engine reads"),
        (("{toy}", "{new}", "safetensors"), "{new} is no name for a safetensors file."),
        (("{toy}", "{weights}", "safetensors"), "{weights} exists already."),
        (("{weights}", "{new}", "other"), "{weights} cannot be read:"),
        (("{new}.safetensors", "{new}", "other"), "{new}.safetensors does not exist."),
        (("{toy}", "{new}", "readonly"), "could not save a checkpoint for step 5"),
    ],
)
def test_what_cannot_be_converted(arguments, message, trained, tmp_path, capsys):
    places = {
        "toy": trained,
        "new": tmp_path / "new",
        "file": tmp_path / "notes.txt",
        "weights": tmp_path / "weights.safetensors",
    }
    for name in ("file", "weights"):
        places[name].write_text("no weights")
    before = sorted(os.listdir(trained))
    source, target, to = (one.format(**places) for one in arguments)
    assert convert(source, target, "--to", to) == 1
    first, *more = capsys.readouterr().err.splitlines()
    assert first.startswith(f"mox: error: {message.format(**places)}")
    assert len(more) <= 1
    assert sorted(os.listdir(trained)) == before
    assert places["weights"].read_text() == "no weights"
    assert not latest_checkpoint(str(tmp_path / "new"))


def test_a_checkpoint_of_an_engine_that_is_not_installed(trained, tmp_path, capsys):
    get_manager().unregister("toy", kind="engine")
    try:
        assert convert(trained, tmp_path / "new", "--to", "other") == 1
    finally:
        get_manager().register(Plugin(), "toy", kind="engine")
    assert "engine 'toy' is not installed" in capsys.readouterr().err


# ---- Runs that meet a checkpoint that does not fit -----------------------------------------------


@pytest.mark.parametrize("argument", ["log_dir", "checkpoint_path"])
@pytest.mark.parametrize("recorded", [True, False])
def test_a_run_names_the_engine_of_a_foreign_checkpoint(problem, trained, argument, recorded):
    if not recorded:
        (trained / "model.ckpt-5.mox.json").unlink()
    with pytest.raises(CheckpointError) as error:
        problem.run(engine=Other(), **{argument: trained})
    prefix = trained / "model.ckpt-5"
    assert str(error.value).splitlines() == [
        f"checkpoint {prefix} is of engine 'toy', and this run uses 'other'.",
        f"  Convert it with `mox checkpoint convert {prefix} FOLDER --to other`, and give "
        f"{argument}=FOLDER.",
    ]


def renamed(problem, name):
    def model_fn(inputs, mode):
        spec = problem.model_fn(inputs, mode)
        extra = toy.variable(name, (2,))
        return dataclasses.replace(spec, loss=spec.loss + toy.mean(toy.square(extra)))

    return model_fn


def test_variables_that_the_model_lacks_are_told(problem, tmp_path, log_lines):
    problem.run(log_dir=tmp_path, max_number_of_steps=2, model_fn=renamed(problem, "old"))
    problem.run(log_dir=tmp_path, max_number_of_steps=4)
    (line,) = [line for line in log_lines if "WARNING" in line]
    assert line.endswith(
        "model.ckpt-2 holds 2 variables that the model or its optimizer has not: old, old/momentum."
    )
    log_lines.clear()
    problem.run(mox.ModeKeys.EVAL, log_dir=tmp_path)
    assert not any("WARNING" in line for line in log_lines)


def test_an_evaluation_does_not_miss_what_an_optimizer_kept(problem, tmp_path, log_lines):
    trained = problem.run(log_dir=tmp_path / "logs", max_number_of_steps=2)
    values = ToyEngine().read_variables(trained.checkpoint)
    kept = ("beta1_power", "train/beta2_power_1", "old")
    prefix = str(tmp_path / "without_a_record")
    ToyEngine().write_variables(prefix, {**values, **dict.fromkeys(kept, np.zeros(()))})
    problem.run(mox.ModeKeys.EVAL, checkpoint_path=prefix)
    (line,) = [line for line in log_lines if " holds " in line]
    assert line.endswith("without_a_record holds 1 variable that the model has not: old.")


def test_a_variable_that_was_renamed(problem, tmp_path):
    problem.run(log_dir=tmp_path, max_number_of_steps=2, model_fn=renamed(problem, "old"))
    with pytest.raises(CheckpointError) as error:
        problem.run(log_dir=tmp_path, model_fn=renamed(problem, "new"))
    first, second, *_ = str(error.value).splitlines()
    assert first.endswith("lacks 1 variable of the model: new.")
    assert second == "  It has 1 other: old."
