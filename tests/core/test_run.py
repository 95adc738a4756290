"""mox.run from the outside, on the toy engine."""

from __future__ import annotations

import json
import math
import os
import sys

import numpy as np
import pytest

import mox_core as mox
from mox_core.errors import CheckpointError, EngineError, MoxError, SpecError
from mox_core.flags import set_flag
from mox_core.testing import ToyEngine
from mox_core.testing import toy_nn as toy
from mox_core.testing.toy_checkpoint import read_arrays

TRAIN, EVAL, PREDICT = mox.ModeKeys.TRAIN, mox.ModeKeys.EVAL, mox.ModeKeys.PREDICT


def read_metrics(log_dir):
    return [json.loads(line) for line in (log_dir / "metrics.jsonl").read_text().splitlines()]


# ---- Training, evaluating, predicting ------------------------------------------------------------


def test_trains_evaluates_and_predicts(problem, tmp_path):
    problem.epochs = 5
    trained = problem.run(log_dir=tmp_path)
    assert trained.steps == trained.global_step == 60  # 240 samples / 20 x 5 epochs
    assert trained.stop_reason == "the data ended"

    problem.epochs = 1
    evaluated = problem.run(EVAL, checkpoint_path=tmp_path, optimizer_fn=None)
    assert evaluated.metrics["accuracy"] > 0.95
    assert evaluated.global_step == 60

    outputs = []
    problem.run(PREDICT, checkpoint_path=tmp_path, output_fn=outputs.extend)
    logits = np.concatenate([one["logits"] for one in outputs])
    assert np.mean(logits.argmax(axis=1) == problem.labels) == pytest.approx(
        evaluated.metrics["accuracy"]
    )


def test_eval_means_weigh_batches_by_their_samples(problem, tmp_path):
    problem.run(log_dir=tmp_path)
    problem.batch = 100  # 100, 100 and 40 samples
    uneven = problem.run(EVAL, log_dir=tmp_path).metrics
    problem.batch = 240
    whole = problem.run(EVAL, log_dir=tmp_path).metrics
    assert uneven == pytest.approx(whole, rel=1e-6)


def test_log_lines_are_exact(problem, log_lines):
    problem.epochs = 2
    problem.run(batch_size=20, auto_batch=False, max_number_of_steps=21)
    steps = [line for line in log_lines if line.startswith("INFO:mox:step: ")]
    assert [line.split("(")[0] for line in steps] == [
        "INFO:mox:step: 0",
        "INFO:mox:step: 10",
        "INFO:mox:step: 20",
    ]
    start, rate, loss, accuracy = steps[1].split("\t")
    assert start == "INFO:mox:step: 10(global step: 10)"
    assert rate.startswith("sample/sec: ") and len(rate.split(".")[1]) == 3
    assert loss.startswith("loss: ") and accuracy.startswith("accuracy: ")
    assert "INFO:mox:Running will end at step: 21" in log_lines


def test_predicting_without_log_info_counts_examples(problem, tmp_path, log_lines):
    problem.run(log_dir=tmp_path)

    def model_fn(inputs, mode):
        return mox.ModelSpec(output_info=problem.model_fn(inputs, mode).output_info)

    problem.run(PREDICT, checkpoint_path=tmp_path, model_fn=model_fn, max_number_of_steps=1)
    assert "INFO:mox:\t[20 examples]" in log_lines


@pytest.mark.parametrize(
    ("every", "towers", "sizes"),
    [(5, 1, [5, 5, 2]), (0, 1, [12]), (4, 2, [8, 4]), (100, 1, [12])],
)
def test_output_fn_gets_groups_of_steps_and_loses_nothing(problem, tmp_path, every, towers, sizes):
    problem.run(log_dir=tmp_path, max_number_of_steps=1)
    set_flag("num_gpus", towers)
    calls = []
    problem.run(
        PREDICT, checkpoint_path=tmp_path, output_fn=calls.append, output_every_n_steps=every
    )
    assert [len(call) for call in calls] == sizes
    order = np.concatenate([one["logits"] for call in calls for one in call])
    whole = []
    set_flag("num_gpus", 1)
    problem.run(PREDICT, checkpoint_path=tmp_path, output_fn=whole.extend)
    np.testing.assert_array_equal(order, np.concatenate([one["logits"] for one in whole]))


def test_functions_are_called_by_position(problem):
    def input_fn(a_mode_by_any_name):
        return problem.input_fn(a_mode_by_any_name)

    def model_fn(batch, m, **kwargs):
        assert not kwargs
        return problem.model_fn(batch, m)

    assert problem.run(input_fn=input_fn, model_fn=model_fn).steps == 12


def test_a_dict_from_input_fn_reaches_model_fn_as_a_dict(problem):
    def input_fn(mode):
        for points, labels in problem.input_fn(mode):
            yield {"points": points, "labels": labels}

    def model_fn(inputs, mode):
        return problem.model_fn([inputs["points"], inputs["labels"]], mode)

    assert problem.run(input_fn=input_fn, model_fn=model_fn).steps == 12


def test_without_log_dir_nothing_is_written(problem, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = problem.run(max_number_of_steps=3)
    assert result.checkpoint is None
    assert list(tmp_path.iterdir()) == []


def test_loss_alone_is_enough_to_train(problem):
    def model_fn(inputs, mode):
        return mox.ModelSpec(loss=problem.model_fn(inputs, mode).loss)

    assert problem.run(model_fn=model_fn).steps == 12


def test_max_steps_from_the_environment_caps_a_run(problem, monkeypatch):
    monkeypatch.setenv("MOX_MAX_STEPS", "3")
    assert problem.run(max_number_of_steps=sys.maxsize).steps == 3


def test_older_spellings_of_modes_work(problem, tmp_path):
    assert problem.run("train", log_dir=tmp_path).steps == 12
    assert problem.run("evaluation", log_dir=tmp_path).mode == "EVAL"
    assert mox.ModeKeys.EVAL == "evaluation" and mox.ModeKeys.TRAIN == "train"
    assert mox.ModeKeys.EVAL != "train" and str(mox.ModeKeys.EVAL) == "EVAL"
    assert {"TRAIN": 1}[mox.ModeKeys.TRAIN] == 1


# ---- Resuming ------------------------------------------------------------------------------------


def test_resume_continues_steps_optimizer_and_schedule(problem, tmp_path):
    """40 steps in one run, or in runs of 15 and 25: the same variables."""
    rates: list[int] = []

    def optimizer_fn():
        def rate(step):
            rates.append(step)
            return 0.1 / (1 + step)

        return toy.Momentum(rate)

    def batches_from(first):
        def input_fn(mode):
            stream = problem.endless(mode)
            for _ in range(first):
                next(stream)
            return stream

        return input_fn

    def weights(log_dir):
        return read_arrays(f"{log_dir}/model.ckpt-40")

    arguments = {"optimizer_fn": optimizer_fn}
    problem.run(
        input_fn=batches_from(0), max_number_of_steps=40, log_dir=tmp_path / "one", **arguments
    )
    del rates[:]
    split = tmp_path / "two"
    problem.run(input_fn=batches_from(0), max_number_of_steps=15, log_dir=split, **arguments)
    result = problem.run(
        input_fn=batches_from(15), max_number_of_steps=40, log_dir=split, **arguments
    )
    assert result.steps == 25 and result.global_step == 40
    assert sorted(set(rates)) == list(range(40))
    once, twice = weights(tmp_path / "one"), weights(split)
    assert once.keys() == twice.keys()
    for name, value in once.items():
        np.testing.assert_array_equal(value, twice[name])


def test_log_dir_comes_before_checkpoint_path(problem, tmp_path, log_lines):
    problem.run(input_fn=problem.endless, max_number_of_steps=5, log_dir=tmp_path / "other")
    problem.run(input_fn=problem.endless, max_number_of_steps=20, log_dir=tmp_path / "own")
    result = problem.run(
        input_fn=problem.endless,
        max_number_of_steps=22,
        log_dir=tmp_path / "own",
        checkpoint_path=tmp_path / "other",
    )
    assert result.steps == 2
    assert any("Ignoring --checkpoint_path" in line for line in log_lines)


def test_checkpoint_path_is_a_folder_or_a_prefix(problem, tmp_path):
    first = problem.run(max_number_of_steps=4, log_dir=tmp_path / "a")
    for path in (tmp_path / "a", first.checkpoint, f"{first.checkpoint}.mox.json"):
        assert problem.run(EVAL, checkpoint_path=path).global_step == 4


def test_a_checkpoint_at_the_last_step_is_said_in_one_line(problem, tmp_path, log_lines):
    problem.run(max_number_of_steps=7, log_dir=tmp_path)
    del log_lines[:]
    result = problem.run(max_number_of_steps=7, log_dir=tmp_path)
    assert result.steps == 0 and result.global_step == 7
    said = [line for line in log_lines if "Nothing to do" in line]
    assert len(said) == 1 and "step 7" in said[0]


def test_warm_start_leaves_out_excluded_variables(problem, tmp_path):
    source = problem.run(max_number_of_steps=10, log_dir=tmp_path / "source")
    set_flag("checkpoint_exclude_patterns", "global_step,bias")

    def zero_rate():
        return toy.Sgd(0.0)

    result = problem.run(
        checkpoint_path=tmp_path / "source",
        log_dir=tmp_path / "warm",
        optimizer_fn=zero_rate,
        max_number_of_steps=1,
    )
    assert result.global_step == 1  # global_step was excluded: the count begins anew
    old, new = read_arrays(source.checkpoint), read_arrays(result.checkpoint)
    np.testing.assert_array_equal(old["weights"], new["weights"])
    assert np.any(old["bias"]) and not np.any(new["bias"])


def test_patterns_do_not_touch_a_resume_from_log_dir(problem, tmp_path):
    problem.run(max_number_of_steps=5, log_dir=tmp_path)
    set_flag("checkpoint_exclude_patterns", "global_step,weights")
    result = problem.run(max_number_of_steps=8, log_dir=tmp_path)
    assert result.steps == 3 and result.global_step == 8


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this machine")
def test_metrics_on_a_full_disk_end_the_run_with_that_error(problem, tmp_path, caplog):
    class Fails(mox.RunHook):
        def on_error(self, run, error):
            raise ValueError("of no interest")

    told = []

    class Told(mox.RunHook):
        def on_error(self, run, error):
            told.append(error)

    problem.run(log_dir=tmp_path / "trained", max_number_of_steps=4)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(MoxError, match="metrics.jsonl cannot be written: No space left") as caught:
        problem.run(
            EVAL,
            checkpoint_path=tmp_path / "trained",
            log_dir=tmp_path / "full",
            optimizer_fn=None,
            hooks=[Fails(), Told()],
        )
    assert told == [caught.value]
    assert "Fails.on_error failed: of no interest" in caplog.text


def test_metrics_are_not_written_twice_after_a_resume(problem, tmp_path):
    problem.run(
        input_fn=problem.endless, max_number_of_steps=25, log_dir=tmp_path, log_every_n_steps=5
    )
    # As after a kill: the newest checkpoint is at 25, but lines go on to 29, the last one cut.
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"mode": "TRAIN", "step": 28, "loss": 1.0}\n{"mode": "TRAIN", "st')
    problem.run(
        input_fn=problem.endless, max_number_of_steps=31, log_dir=tmp_path, log_every_n_steps=5
    )
    assert [one["step"] for one in read_metrics(tmp_path)] == [0, 5, 10, 15, 20, 25, 30]


# ---- Cadence -------------------------------------------------------------------------------------


def saved_steps(log_lines):
    return [
        int(line.split()[3]) for line in log_lines if line.startswith("INFO:mox:Saving checkpoints")
    ]


def test_saves_every_n_steps_and_keeps_the_newest(problem, tmp_path, log_lines):
    set_flag("keep_checkpoint_max", 2)
    problem.run(
        input_fn=problem.endless, max_number_of_steps=25, log_dir=tmp_path, save_model_steps=10
    )
    assert saved_steps(log_lines) == [0, 10, 20, 25]
    kept = sorted(path.name for path in tmp_path.glob("model.ckpt-*.npz"))
    assert kept == ["model.ckpt-20.npz", "model.ckpt-25.npz"]


def test_seconds_win_over_steps(problem, tmp_path, log_lines):
    problem.run(
        input_fn=problem.endless,
        max_number_of_steps=25,
        log_dir=tmp_path,
        save_model_steps=1,
        save_model_secs=3600,
    )
    assert saved_steps(log_lines) == [0, 25]


def test_saves_by_the_clock(problem, tmp_path, log_lines):
    """With a period that every step outlasts, every step that is looked at saves."""
    problem.run(
        input_fn=problem.endless,
        max_number_of_steps=4,
        log_dir=tmp_path,
        save_model_secs=1e-9,
        log_every_n_steps=1,
    )
    assert saved_steps(log_lines) == [0, 1, 2, 3, 4]


def test_user_hooks_see_the_steps_they_ask_for(problem):
    seen = []

    class Every4(mox.RunHook):
        every_n_steps = 4

        def on_start(self, run):
            seen.append("start")

        def on_step_end(self, run, results):
            seen.append(run.last_step)
            assert run.metrics["loss"] == results.values[0]["loss"]

        def on_end(self, run):
            seen.append("end")

    problem.run(hooks=[Every4()], log_every_n_steps=0)
    assert seen == ["start", 0, 4, 8, "end"]


def test_a_user_hook_stops_the_run(problem):
    class StopAt5(mox.RunHook):
        def on_step_end(self, run, results):
            if run.last_step == 5:
                run.stop("five is enough")

    result = problem.run(hooks=[StopAt5()])
    assert result.steps == 6 and result.stop_reason == "five is enough"


def test_hook_state_survives_a_restart(problem, tmp_path):
    class Count(mox.RunHook):
        def __init__(self):
            self.count = 0

        def on_step_end(self, run, results):
            self.count += 1

        def state(self):
            return {"count": self.count}

        def load_state(self, state):
            self.count = state["count"]

    problem.run(hooks=[Count()], max_number_of_steps=5, log_dir=tmp_path)
    again = Count()
    problem.run(hooks=[again], max_number_of_steps=8, log_dir=tmp_path)
    assert again.count == 8


def test_an_error_in_a_hook_reaches_all_hooks(problem, tmp_path):
    errors = []

    class Fails(mox.RunHook):
        def on_step_end(self, run, results):
            raise KeyError("the user's own")

    class Watches(mox.RunHook):
        def on_error(self, run, error):
            errors.append(error)

        def on_end(self, run):
            raise AssertionError("a failed run does not end in order")

    with pytest.raises(KeyError, match="the user's own"):
        problem.run(hooks=[Fails(), Watches()], log_dir=tmp_path)
    assert len(errors) == 1


# ---- Evaluation in the middle of training --------------------------------------------------------


def with_hook(problem, make):
    def hooks(logits, labels, loss):
        return [make({"loss": loss, "accuracy": toy.accuracy(logits, labels)})]

    problem.hooks = hooks
    return problem


@pytest.mark.parametrize(
    ("samples", "batch", "fires"), [(640, 32, [19, 39, 59, 79]), (1000, 32, [31, 63, 95])]
)
def test_evaluation_fires_at_the_documented_steps(problem, log_lines, samples, batch, fires):
    with_hook(
        problem,
        lambda info: mox.LogEvaluationMetricHook(
            info, batch_size=batch, samples_in_train=samples, samples_in_eval=40
        ),
    )
    problem.run(input_fn=problem.endless, inter_mode=EVAL, max_number_of_steps=96)
    lines = [line for line in log_lines if "[VALIDATION METRICS]" in line]
    assert [int(line.split("step: ")[1].split()[0]) for line in lines] == fires
    assert lines[0].startswith(f"INFO:mox:[VALIDATION METRICS] step: {fires[0]} loss: ")
    assert " accuracy: " in lines[0]
    assert problem.calls.count("EVAL") >= 1


def early_stopping(**arguments):
    defaults = {
        "monitor": "accuracy",
        "batch_size": 32,
        "samples_in_train": 640,
        "samples_in_eval": 40,
        "min_delta": 0.01,
        "patience": 3,
    }
    return lambda info: mox.EarlyStoppingHook(info, **{**defaults, **arguments})


def test_early_stopping_after_patience_evaluations(problem, log_lines):
    with_hook(problem, early_stopping())
    result = problem.run(
        input_fn=problem.endless,
        inter_mode=EVAL,
        optimizer_fn=lambda: toy.Sgd(0.0),
        max_number_of_steps=10000,
    )
    lines = [line for line in log_lines if line.startswith("INFO:mox:[EarlyStopping]")]
    assert [int(line.split("step: ")[1].split()[0]) for line in lines] == [19, 39, 59, 79]
    assert result.steps == 80 and result.stop_reason.startswith("early stopping")


def test_early_stopping_goes_on_counting_after_a_restart(problem, tmp_path):
    with_hook(problem, early_stopping())
    arguments = {
        "input_fn": problem.endless,
        "inter_mode": EVAL,
        "optimizer_fn": lambda: toy.Sgd(0.0),
        "log_dir": tmp_path,
    }
    problem.run(max_number_of_steps=45, **arguments)
    assert problem.run(max_number_of_steps=1000, **arguments).global_step == 80


def test_falling_loss_is_an_improvement(problem):
    with_hook(problem, early_stopping(monitor="loss", min_delta=0.0, patience=1))
    result = problem.run(
        input_fn=problem.endless,
        inter_mode=EVAL,
        optimizer_fn=lambda: toy.Sgd(0.01),
        max_number_of_steps=100,
    )
    assert result.steps == 100


def test_an_evaluation_hook_without_inter_mode_is_said_to_do_nothing(problem, log_lines):
    with_hook(problem, early_stopping())
    assert problem.run(input_fn=problem.endless, max_number_of_steps=100).steps == 100
    assert any("EarlyStoppingHook does nothing" in line for line in log_lines)


def test_evaluation_changes_no_variable(problem, tmp_path):
    def last(log_dir):
        return read_arrays(str(log_dir / "model.ckpt-50"))["weights"]

    problem.run(input_fn=problem.endless, max_number_of_steps=50, log_dir=tmp_path / "plain")
    with_hook(problem, early_stopping(patience=100))
    problem.run(
        input_fn=problem.endless,
        inter_mode=EVAL,
        max_number_of_steps=50,
        log_dir=tmp_path / "evaluated",
    )
    np.testing.assert_array_equal(last(tmp_path / "plain"), last(tmp_path / "evaluated"))


# ---- Export --------------------------------------------------------------------------------------


def test_export_numbers_versions_upwards(problem, tmp_path):
    (tmp_path / "3").mkdir()
    first = problem.run(log_dir=tmp_path, max_number_of_steps=3, export_model=True)
    again = problem.run(log_dir=tmp_path, max_number_of_steps=4, export_model="toy_npz")
    assert [first.export_dir, again.export_dir] == [str(tmp_path / "4"), str(tmp_path / "5")]
    assert not list(tmp_path.glob(".mox-*"))


def test_an_existing_export_folder_is_found_before_training(problem, tmp_path):
    def model_fn(inputs, mode):
        spec = problem.model_fn(inputs, mode)
        named = mox.ExportSpec(
            spec.export_spec.inputs_dict, spec.export_spec.outputs_dict, version="model"
        )
        return mox.ModelSpec(loss=spec.loss, export_spec=named)

    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "keep").write_text("mine")
    with pytest.raises(AssertionError, match="Export directory already exists. Please specify"):
        problem.run(model_fn=model_fn, log_dir=tmp_path, export_model=True)
    assert not list(tmp_path.glob("model.ckpt*"))
    assert (tmp_path / "model" / "keep").read_text() == "mine"


# ---- Bad input -----------------------------------------------------------------------------------


def message(error):
    text = str(error.value)
    assert 1 <= len(text.splitlines()) <= 3
    return text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"run_mode": "invalid"}, "run_mode='invalid' is not a run mode"),
        ({"run_mode": "EXPORT"}, "is not a run mode"),
        ({"input_fn": None}, "input_fn is missing"),
        ({"model_fn": "net"}, "model_fn is a str"),
        ({"model_fn": lambda inputs: None}, "mox calls model_fn(inputs, mode)"),
        ({"optimizer_fn": None}, "optimizer_fn is missing; mode TRAIN needs it"),
        ({"optimizer_fn": 0.1}, "optimizer_fn is a float"),
        ({"optimizer_fn": lambda rate: None}, "mox calls optimizer_fn()"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": "32"}, "batch_size is '32'"),
        ({"max_number_of_steps": -1}, "max_number_of_steps is -1"),
        ({"save_model_secs": "often"}, "save_model_secs is 'often'"),
        ({"inter_mode": "validate"}, "inter_mode='validate' is not a run mode"),
        ({"export_model": True, "log_dir": None}, "export_model needs log_dir"),
        ({"hooks": [object()]}, "hooks[0] is an object"),
    ],
)
def test_bad_arguments_are_named(problem, arguments, says):
    mode = arguments.pop("run_mode", TRAIN)
    with pytest.raises(ValueError) as error:
        problem.run(mode, **arguments)
    assert says in message(error)


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (lambda spec: None, "model_fn returned None (is a return missing?) in mode TRAIN"),
        (lambda spec: spec.loss, "model_fn returned a mox_core Tensor in mode TRAIN"),
        (lambda spec: mox.ModelSpec(log_info=spec.log_info), "ModelSpec.loss is missing"),
        (
            lambda spec: mox.ModelSpec(loss=spec.output_info["logits"]),
            "ModelSpec.loss has shape",
        ),
        (
            lambda spec: mox.ModelSpec(loss=spec.loss, log_info=spec.output_info),
            "ModelSpec.log_info['logits'] has shape",
        ),
        (
            lambda spec: mox.ModelSpec(loss=spec.loss, log_info=[1]),
            "ModelSpec.log_info is a list",
        ),
        (
            lambda spec: mox.ModelSpec(loss=spec.loss, hooks=[3]),
            "ModelSpec.hooks[0]",
        ),
        (
            lambda spec: mox.ModelSpec(loss=[spec.loss, spec.loss], var_scopes=[["a"]]),
            "ModelSpec.var_scopes",
        ),
        (
            lambda spec: mox.ModelSpec(loss=spec.loss, log_info={"loss": None}),
            "ModelSpec.log_info['loss'] is None",
        ),
    ],
)
def test_bad_model_specs_are_named(problem, result, says):
    with pytest.raises(SpecError) as error:
        problem.run(model_fn=lambda inputs, mode: result(problem.model_fn(inputs, mode)))
    assert says in message(error)


@pytest.mark.parametrize(
    ("mode", "keep", "says"),
    [
        (EVAL, "loss", "ModelSpec.log_info is missing; mode EVAL needs it"),
        (PREDICT, "loss", "ModelSpec.output_info is missing; mode PREDICT needs it"),
    ],
)
def test_each_mode_names_the_field_that_it_needs(problem, tmp_path, mode, keep, says):
    problem.run(log_dir=tmp_path, max_number_of_steps=1)

    def model_fn(inputs, mode):
        return mox.ModelSpec(loss=problem.model_fn(inputs, mode).loss)

    with pytest.raises(SpecError) as error:
        problem.run(mode, model_fn=model_fn, checkpoint_path=tmp_path)
    assert says in message(error)


def test_input_fn_that_returns_nothing(problem):
    with pytest.raises(SpecError) as error:
        problem.run(input_fn=lambda mode: None)
    assert "input_fn returned None" in message(error)


@pytest.mark.parametrize("mode", [EVAL, PREDICT])
def test_only_training_may_begin_without_a_checkpoint(problem, tmp_path, mode):
    with pytest.raises(CheckpointError) as error:
        problem.run(mode, log_dir=tmp_path)
    assert f"mode {mode} needs a checkpoint" in message(error)
    with pytest.raises(CheckpointError) as error:
        problem.run(mode, checkpoint_path=tmp_path / "nowhere")
    assert "no checkpoint at checkpoint_path=" in message(error)


def nan_from_step(problem, bad_step):
    """The data of the batch number `bad_step` are NaN."""

    def input_fn(mode):
        for step, (points, labels) in enumerate(problem.endless(mode)):
            yield (points * math.nan if step == bad_step else points), labels

    return input_fn


def test_nan_loss_stops_with_step_and_name_and_keeps_the_last_good(problem, tmp_path):
    with pytest.raises(MoxError) as error:
        problem.run(
            input_fn=nan_from_step(problem, 17),
            max_number_of_steps=50,
            log_dir=tmp_path,
            save_model_steps=10,
        )
    assert "not finite at step 17: loss" in message(error)
    assert "model.ckpt-10" in message(error) and "--nan ignore" in message(error)
    resumed = problem.run(input_fn=problem.endless, max_number_of_steps=11, log_dir=tmp_path)
    assert resumed.steps == 1 and math.isfinite(resumed.metrics["loss"])


def test_variables_that_are_not_finite_are_never_saved(problem, tmp_path):
    """The loss of the last step is finite, but its update made the weights infinite."""
    with pytest.raises(MoxError) as error, np.errstate(all="ignore"):
        problem.run(optimizer_fn=lambda: toy.Sgd(math.inf), max_number_of_steps=1, log_dir=tmp_path)
    assert "weights" in message(error)
    assert [path.name for path in tmp_path.glob("*.npz")] == ["model.ckpt-0.npz"]


def test_nan_can_be_ignored(problem):
    set_flag("nan", "ignore")
    result = problem.run(input_fn=nan_from_step(problem, 3), max_number_of_steps=6)
    assert result.steps == 6 and math.isnan(result.metrics["loss"]) is False


def test_towers_that_an_engine_does_not_have(problem):
    from dataclasses import replace

    class OneTower(ToyEngine):
        capabilities = replace(ToyEngine.capabilities, towers=False, inter_mode=False)

    set_flag("num_gpus", 2)
    with pytest.raises(EngineError) as error:
        problem.run(engine=OneTower())
    assert "runs one tower, but --num_gpus is 2" in message(error)
    set_flag("num_gpus", 1)
    with pytest.raises(EngineError) as error:
        problem.run(engine=OneTower(), inter_mode=EVAL)
    assert "cannot evaluate in the middle of training" in message(error)


def test_a_format_that_the_engine_does_not_have(problem, tmp_path):
    with pytest.raises(EngineError) as error:
        problem.run(log_dir=tmp_path, export_model=mox.ExportKeys.TF_SERVING)
    assert "does not export to 'tf_serving' (its formats: 'toy_npz')" in message(error)


def test_evaluation_data_that_have_ended(problem):
    with_hook(problem, early_stopping(samples_in_train=32))

    def input_fn(mode):
        return iter([]) if mode == EVAL else problem.endless(mode)

    with pytest.raises(SpecError) as error:
        problem.run(input_fn=input_fn, inter_mode=EVAL, max_number_of_steps=100)
    assert "input_fn" in message(error)


def test_the_traceback_of_a_mox_error_holds_no_frame_from_inside_mox(problem):
    import traceback

    with pytest.raises(MoxError) as error:
        problem.run(optimizer_fn=None)
    files = [frame.filename for frame in traceback.extract_tb(error.value.__traceback__)]
    inside = [name for name in files if "/mox_core/" in name]
    assert len(inside) == 1 and inside[0].endswith("runner.py")


def test_an_error_in_the_users_function_is_the_users_own(problem):
    def model_fn(inputs, mode):
        return {}["missing"]

    with pytest.raises(KeyError, match="missing"):
        problem.run(model_fn=model_fn)


# ---- Flags that an engine does not have ----------------------------------------------------------


def test_a_cluster_that_the_engine_does_not_have(problem):
    set_flag("worker_hosts", "a:1,b:1")
    with pytest.raises(EngineError) as error:
        problem.run()
    assert "runs on one machine, but --worker_hosts is 'a:1,b:1'" in message(error)
    set_flag("worker_hosts", "a:1")  # one worker is no cluster
    set_flag("job_name", "worker")
    assert problem.run().steps == 12


def test_flags_that_mean_nothing_to_the_engine_are_said(problem, log_lines):
    set_flag("use_fp16", True)
    set_flag("variable_update", "replicated")
    problem.run()
    assert "WARNING:mox:Engine 'toy' ignores --use_fp16, --variable_update." in log_lines


def test_silent_runs_print_warnings_only(problem, log_lines):
    set_flag("silent", True)
    problem.run()
    assert log_lines == []


def test_a_log_level_that_does_not_exist(problem):
    set_flag("running_log_level", "LOUD")
    with pytest.raises(MoxError) as error:
        problem.run()
    assert "running_log_level" in message(error) and "LOUD" in message(error)
