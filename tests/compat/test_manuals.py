"""Every complete script of the manuals, run by the launcher on real digits to its end.

The scripts are written after the manuals'; their first lines say where they differ.
"""

from __future__ import annotations

import re
import shutil

import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("tf_keras")
pytest.importorskip("tf_slim")


def accuracy(output):
    return float(re.findall(r"ACCURACY ([\d.]+)", output)[-1])


def test_000_tensorflow_alone(user, manual, mnist_folder):
    assert accuracy(user.launch(manual / "m000_native.py", f"--data_url={mnist_folder}")) > 0.84


def test_000_on_moxing_with_evaluation_and_export(user, manual, mnist_folder, log):
    output = user.launch(
        manual / "m000_moxing.py", f"--data_url={mnist_folder}", "--train_url", user.folder / "out"
    )
    steps, last = log(output)
    assert steps == list(range(0, 300, 10))
    assert last["accuracy"] > 0.7
    # 3000 training images in batches of 50: after every 60 steps.
    validated = re.findall(
        r"^INFO:tensorflow:\[VALIDATION METRICS\] step: (\d+) loss: \S+ accuracy: (\S+)$",
        output,
        re.M,
    )
    assert [int(step) for step, _ in validated] == [59, 119, 179, 239, 299]
    assert float(validated[-1][1]) > 0.8
    assert (user.folder / "out" / "1" / "saved_model.pb").exists()
    assert (user.folder / "out" / "model.ckpt-300.index").exists()


def test_001_the_first_script(user, manual, mnist_folder, log):
    output = user.launch(
        manual / "m001_first_run.py", f"--data_url={mnist_folder}", f"--train_url={user.folder}/out"
    )
    steps, last = log(output)
    assert (steps[-1], last["loss"] < 0.4) == (990, True)


def test_001_getting_started(user, manual, mnist_folder, log):
    output = user.launch(
        manual / "m001_getting_started.py",
        f"--data_url={mnist_folder}",
        f"--train_url={user.folder}/out",
    )
    steps, last = log(output)
    assert steps[-1] == 990
    assert last["accuracy"] > 0.7


def test_001_a_placeholder_that_a_hook_feeds(user, manual, log):
    steps, last = log(user.launch(manual / "m001_feed_hook.py"))
    assert (steps, last) == ([0, 10, 20], {"x": 1.0, "w": 1.0})


def test_001_two_losses(user, manual, mnist_folder, log):
    output = user.launch(
        manual / "m001_two_losses.py",
        f"--data_url={mnist_folder}",
        f"--train_url={user.folder}/out",
    )
    steps, last = log(output)
    assert steps[-1] == 200
    assert list(last) == ["D_loss", "G_loss"]
    assert last["D_loss"] < 1.3


def test_001_the_small_examples(user, manual):
    lines = user.launch(manual / "m001_small.py").splitlines()
    start = lines.index("TRAIN EVAL PREDICT EXPORT")
    assert lines[start + 1 : start + 9] == [
        "224",
        "1",
        "logits",
        'Tensor("Cast:0", shape=(), dtype=float16)',
        # TensorFlow 1 had reference variables here: `dtype=float32_ref`.
        "<tf.Variable 'a:0' shape=() dtype=float32>",
        "global_step,logits",
        "1",
        lines[start + 8],
    ]
    assert "GradientDescentOptimizer" in lines[start + 8]
    assert lines[start + 9] == "resnet_v1_50"


def test_001_files_of_a_bucket(user, manual):
    pytest.importorskip("pandas")
    pytest.importorskip("cv2")
    output = user.python(manual / "m001_files.py")
    assert output.splitlines() == [
        "test",
        "[3, 4]",
        "no such file",
        "b'yxxx'",
        "['a.txt', 'b.txt', 'dir', 'obs_file.txt']",
        "['a.txt', 'b.txt', 'dir', 'dir/data0.bin', 'dir/data1.bin', 'obs_file.txt']",
        "True True",
        "25",
        "25 True False",
        "['data0.bin', 'data1.bin'] ['data0.bin', 'data1.bin']",
        "['memory://dls-test/a.txt', 'memory://dls-test/b.txt', 'memory://dls-test/obs_file.txt']",
        "['data0.bin', 'data1.bin']",
        "[2]",
        "False",
        "hello world",
        "INFO:root:hello world",
        "(4, 5, 3)",
    ]


def test_001_built_in_functions_on_a_bucket(user, manual):
    output = user.python(manual / "m001_shift.py")
    assert output.splitlines() == ["['folder', 'hello_world.txt']", "Hello World"]


def test_001_a_network_learns_a_folder_of_images_and_predicts_into_a_table(
    user, manual, images, log
):
    pytest.importorskip("pandas")
    output = user.launch(
        manual / "m001_flowers.py",
        f"--data_url={images}/train",
        "--model_name=cifarnet",
        "--batch_size=8",
        "--nohalf",
        "--train_url=out",
        MOX_MAX_STEPS="31",
    )
    assert "INFO:mox:0: blue\nINFO:mox:1: red\n" in output
    steps, last = log(output)
    assert (steps, last["accuracy"]) == ([0, 10, 20, 30], 1.0)
    user.launch(manual / "m001_predict.py", f"--data_url={images}/eval", "--checkpoint_url=out")
    table = (user.folder / "outputs.txt").read_text()
    assert table.count("'prediction': array([") == 3


def test_001_early_stopping_of_a_network(user, manual, images):
    output = user.launch(manual / "m001_early_stopping.py", f"--data_url={images}")
    evaluated = re.findall(r"\[EarlyStopping\] step: (\d+) accuracy: (\S+)$", output, re.M)
    # 16 samples in batches of 4; the first evaluation and three without improvement.
    assert [int(step) for step, _ in evaluated][-4:] == [
        int(evaluated[-1][0]) - 4 * back for back in (3, 2, 1, 0)
    ]
    assert int(evaluated[0][0]) == 3
    assert float(evaluated[-1][1]) == 1.0


def test_001_a_data_set_and_a_network_by_their_names(user, manual, mnist_folder, log):
    output = user.launch(
        manual / "m001_named_dataset.py", f"--data_url={mnist_folder}", "--train_url=out"
    )
    steps, last = log(output)
    assert steps[-1] == 150
    assert last["top1"] > 0.6
    assert (user.folder / "out" / "1" / "saved_model.pb").exists()


def test_002_training_then_evaluation(user, manual, mnist_folder, log):
    flags = f"--data_url={mnist_folder}", f"--train_url={user.folder}/out"
    steps, _ = log(user.launch(manual / "m002_train.py", *flags))
    # Five epochs of 3000 images in batches of 100, until the data end.
    assert steps == list(range(0, 150, 10))
    assert (user.folder / "out" / "model.ckpt-150.index").exists()
    evaluated = user.launch(manual / "m002_eval.py", *flags)
    found = re.search(r"20 batches, 2000 samples\taccuracy: (\S+)", evaluated)
    assert float(found[1]) > 0.84


def test_002_flags_of_mox_are_known_before_mox_is_imported(user, manual, mnist_folder, log):
    output = user.launch(
        manual / "m002_train.py", f"--data_url={mnist_folder}", "--train_url=out", "--num_gpus=4"
    )
    assert "0 GPUs for 4 towers" in output
    steps, last = log(output)
    assert (steps, last["loss"] < 1.0) == ([0, 10, 20, 30], True)
    # 150 batches for four towers; the last two are not enough for a step.
    assert (user.folder / "out" / "model.ckpt-37.index").exists()


def test_003_keras_trains_and_exports(user, manual, mnist_folder):
    output = user.launch(manual / "m003_keras.py", MNIST=str(mnist_folder))
    assert accuracy(output) > 0.87
    assert (user.folder / "mnist_keras" / "saved_model.pb").exists()


def test_003_tensorflow_trains_and_exports(user, manual, mnist_folder):
    for file in mnist_folder.glob("*.gz"):
        shutil.copy(file, user.folder)
    output = user.launch(manual / "m003_tf.py")
    assert accuracy(output) > 0.84
    model = user.folder / "modelarts-mnist-train-save-deploy-example" / "model"
    assert (model / "saved_model.pb").exists()
