"""Every example, run as its first lines say, on the digits that ship with them."""

from __future__ import annotations

import csv
import json
import math
import re
import struct
from pathlib import Path

import pytest

from mox_core.hooks.events import read_events

EXAMPLES = Path(__file__).parents[2] / "examples"
EVAL_LINE = r"\[EVAL\] global step: \d+, \d+ batches, 359 samples\taccuracy: (\d\.\d{3})"


def metrics_of(log_dir):
    lines = (log_dir / "metrics.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["mode"] == "TRAIN"]


def events_of(folder):
    return [event for path in sorted(folder.glob("events.out.*")) for event in read_events(path)]


# ---- Softmax regression: train, evaluate, predict ------------------------------------------------


@pytest.fixture(scope="module")
def softmax(user):
    user.train_output = user.example("train_mnist_softmax.py", "--train_url", "softmax")
    return user


@pytest.fixture(scope="module")
def softmax_evaluated(softmax):
    return softmax.example("eval_mnist_softmax.py", "--train_url", "softmax")


def test_softmax_trains_until_the_data_end(softmax, steps_logged):
    assert steps_logged(softmax.train_output) == list(range(0, 143, 10))  # 10 x 1438 // 100
    records = metrics_of(softmax.folder / "softmax")
    assert [record["step"] for record in records] == list(range(0, 143, 10))
    assert records[0]["loss"] == pytest.approx(math.log(10), rel=1e-5)  # all digits equally likely
    assert records[-1]["loss"] < 0.4
    events = events_of(softmax.folder / "softmax")
    drawn = {step: values["loss"] for step, _, values in events if "loss" in values}
    by_step = {record["step"]: record["loss"] for record in records}
    assert drawn == pytest.approx({step: by_step[step] for step in (0, 100)})


def test_softmax_evaluates_on_every_test_image(softmax_evaluated, number):
    assert "Restoring parameters from softmax/model.ckpt-143" in softmax_evaluated
    assert number(EVAL_LINE, softmax_evaluated) > 0.9


def test_predictions_in_the_csv_file_are_those_evaluated(softmax, softmax_evaluated, number):
    output = softmax.example(
        "predict_to_csv.py", "--checkpoint_path", "softmax", "--csv", "out.csv"
    )
    assert "out.csv: 359 predictions" in output
    with open(softmax.folder / "out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["image"]) for row in rows] == list(range(359))
    assert all(0.1 <= float(row["probability"]) <= 1 for row in rows)
    right = sum(row["prediction"] == row["label"] for row in rows)
    assert right / 359 == pytest.approx(number(EVAL_LINE, softmax_evaluated), abs=6e-4)


def test_mox_run_runs_a_script(new_user, steps_logged):
    arguments = ["--engine", "tf", "--train_url", "out", "--num_epochs", "1"]
    script = EXAMPLES / "train_mnist_softmax.py"
    output = new_user.run("-m", "mox_core.cli", "run", script, *arguments)
    assert steps_logged(output) == [0, 10]
    assert (new_user.folder / "out" / "model.ckpt-14.index").exists()


# ---- Convolutional network: evaluate while training, export, use the export ----------------------


def test_conv_net_evaluates_exports_and_predicts(new_user, number):
    train = ["train_mnist_conv.py", "--log_dir", "conv", "--num_epochs", "3"]
    output = new_user.example(*train)
    evaluations = re.findall(
        r"^INFO:tensorflow:\[VALIDATION METRICS\] step: (\d+) loss: \d+\.\d{3} accuracy: "
        r"(\d\.\d{3})$",
        output,
        re.MULTILINE,
    )
    assert [int(step) for step, _ in evaluations] == [28, 57, 86]  # epochs of ceil(1438 / 50) steps
    drawn = [
        values["accuracy"]
        for _, _, values in events_of(new_user.folder / "conv" / "eval")
        if "accuracy" in values
    ]
    assert drawn == pytest.approx([float(accuracy) for _, accuracy in evaluations], abs=6e-4)
    assert "Model exported to conv/1" in output

    predicted, again = new_user.run_together(
        (EXAMPLES / "predict_exported.py", "--model_dir", "conv/1"),
        (EXAMPLES / train[0], *train[1:]),
    )
    assert number(r"accuracy of the exported model: (\d\.\d+) \(359", predicted) > 0.85

    assert "Nothing to do: checkpoint conv/model.ckpt-87 is at step 87 already" in again
    assert "Model exported to conv/2" in again


def test_demo(new_user, number):
    (new_user.folder / "demo_output" / "run-1").mkdir(parents=True)
    output = new_user.example("demo.py", "--num_epochs", "4")
    accuracy = number(r"accuracy on the test images: +(\d\.\d{3})", output)
    assert accuracy > 0.88
    assert number(r"accuracy of the exported model: (\d\.\d{3})", output) == accuracy
    folder = new_user.folder / "demo_output" / "run-2"  # run-1 was there
    for place in re.findall(r"^[a-z ,]+: +(demo_output\S+)$", output, re.MULTILINE):
        assert (new_user.folder / place).exists()
    assert f"tensorboard --logdir {folder.relative_to(new_user.folder)}" in output
    assert (folder / "1" / "saved_model.pb").exists()


# ---- Early stopping ------------------------------------------------------------------------------


def test_early_stopping_stops_when_accuracy_stands_still(new_user):
    output = new_user.example("early_stopping.py", "--log_dir", "early")
    found = re.findall(r"\[EarlyStopping\] step: (\d+) accuracy: (\d\.\d{3})", output)
    assert [int(step) % 29 for step, _ in found] == [28] * len(found)
    assert 4 <= len(found) < 100
    # What the hook's documentation says, once more; one image of 359 is more than min_delta.
    best, waited = -1, []
    for right in (round(float(accuracy) * 359) for _, accuracy in found):
        waited.append(0 if right > best else waited[-1] + 1)
        best = max(best, right)
    assert waited[-1] == 3 and max(waited[:-1]) < 3
    last = int(found[-1][0])
    assert f"Stopped at step {last}: early stopping: accuracy has not improved" in output
    assert (new_user.folder / "early" / f"model.ckpt-{last + 1}.index").exists()


# ---- Two losses ----------------------------------------------------------------------------------


def test_gan_trains_both_networks_and_draws(new_user):
    output = new_user.example("gan_two_losses.py", "--log_dir", "gan", "--steps", "12")
    assert re.search(
        r"step: 10\(global step: 10\).*\td_loss: \d+\.\d{3}\tg_loss: \d+\.\d{3}", output
    )
    assert "The generator's digits: gan/generated.png" in output
    png = (new_user.folder / "gan" / "generated.png").read_bytes()
    assert png.startswith(b"\x89PNG\r\n") and struct.unpack(">II", png[16:24]) == (224, 224)

    import tensorflow as tf  # only to read the checkpoints

    before, after = (
        tf.train.load_checkpoint(str(new_user.folder / "gan" / f"model.ckpt-{step}"))
        for step in (0, 12)
    )
    names = [name for name in after.get_variable_to_shape_map() if "Adam" not in name]
    for network in ("generator", "discriminator"):
        own = [name for name in names if name.startswith(network)]
        changed = [(before.get_tensor(n) != after.get_tensor(n)).any() for n in own]
        assert own and all(changed)
    assert after.get_tensor("global_step") == 12  # one update per step, not one per loss
    (events,) = (new_user.folder / "gan").glob("events.out.*")
    assert b"generated/image" in events.read_bytes()


# ---- Mistakes ------------------------------------------------------------------------------------


def test_what_is_missing_is_named(new_user):
    mistakes = {
        ("train_mnist_conv.py", "--data_url", "nowhere"): (
            "DataError: nowhere has no train-images-idx3-ubyte.gz"
        ),
        ("eval_mnist_softmax.py", "--train_url", "nothing"): (
            "no checkpoint at checkpoint_path='nothing'"
        ),
        ("predict_to_csv.py", "--checkpoint_path", "nothing"): (
            "no checkpoint at checkpoint_path='nothing'"
        ),
    }
    commands = [(EXAMPLES / name, *arguments) for name, *arguments in mistakes]
    outputs = new_user.run_together(*commands, code=1)
    for output, message in zip(outputs, mistakes.values(), strict=True):
        assert message in "".join(output.splitlines()[-2:])
    output = new_user.example("predict_exported.py", "--model_dir", "nothing", code=2)
    assert "nothing holds no exported model" in "".join(output.splitlines()[-2:])
    assert not list(new_user.folder.iterdir())


def test_help_and_misspelt_flags_of_a_script_beside_flags_of_mox(new_user):
    script = (EXAMPLES / "train_mnist_softmax.py", "--num_gpus", "2")
    helped, misspelt = new_user.run_together(
        (*script, "--help"), (*script, "--trian_url", "x"), code=1
    )
    assert "passes over the training images" in helped
    assert "Unknown command line flag 'trian_url'. Did you mean: train_url ?" in misspelt
    assert "Traceback" not in misspelt and "step: 0" not in misspelt


# ---- Transfer learning on images -----------------------------------------------------------------


def test_a_network_that_knows_some_flowers_learns_others(user, number):
    pytest.importorskip("cv2")
    output = user.example(
        "train_flowers.py",
        "--train_url",
        "flowers",
        "--engine",
        "tf",
        "--max_number_of_steps",
        "60",
    )
    # All but the last layer: eight of cifarnet, two of Adam for each, and two of its own.
    assert re.search(r"Restored 26 variables by the patterns given", output)
    assert "0: bluebell" in output
    # Two of the three kinds told apart give 0.67.
    assert number(r"accuracy on the new kinds: (\d\.\d+)", output) > 0.75
