"""The manual's scripts and the convolutional network on the real MNIST, beside loops by hand."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("towers", [1, 2, 4])
def test_the_manuals_scripts(user, mnist_folder, towers, number):
    """N towers take N batches per step, so the loop by hand takes batches N times as large.

    The manual reads its flags before it imports mox; `mox run` lets it have flags of mox all the
    same.
    """
    data, folder = f"--data_url={mnist_folder}", f"--train_url=manual-{towers}"
    if towers == 1:
        trained = user.script("manual_train.py", data, folder)
    else:
        script = user.scripts / "manual_train.py"
        trained = user.run(
            "-m", "mox_core.cli", "run", script, data, folder, f"--num_gpus={towers}"
        )
    steps = 5 * 8000 // 100 // towers
    assert f"Saving checkpoints for {steps} into manual-{towers}/model.ckpt." in trained
    assert ("logical" in trained) == (towers > 1)  # it says that CPU devices stand in for GPUs
    evaluated = user.script("manual_eval.py", data, folder)
    accuracy = number(r"\[EVAL\] .* 2000 samples\taccuracy: (\d\.\d+)", evaluated)
    plain = user.script("plain_loop.py", "softmax", mnist_folder, steps, 100 * towers)
    assert accuracy == pytest.approx(number(r"accuracy: (\d\.\d+)", plain), abs=0.002)
    assert accuracy >= (0.89 if towers == 1 else 0.87)  # fewer updates, the same learning rate


def test_evaluation_on_towers_sees_every_batch(user, mnist_folder, number):
    """20 batches on 3 towers: the last step has only two."""
    user.script("manual_train.py", f"--data_url={mnist_folder}", "--train_url=for_eval")
    arguments = [f"--data_url={mnist_folder}", "--train_url=for_eval"]
    single, several = (
        user.run("-m", "mox_core.cli", "run", user.scripts / "manual_eval.py", *arguments, towers)
        for towers in ("--num_gpus=1", "--num_gpus=3")
    )
    pattern = r"\[EVAL\] global step: 400, 20 batches, 2000 samples\taccuracy: (\d\.\d+)"
    assert number(pattern, single) == pytest.approx(number(pattern, several), abs=1e-3)


@pytest.mark.slow
def test_convolutional_network(user, mnist_folder, number):
    steps = 5 * 8000 // 50
    user.example(
        "train_mnist_conv.py", "--data_url", mnist_folder, "--log_dir", "conv", "--num_epochs=5"
    )
    predicted = user.example(
        "predict_exported.py", "--data_url", mnist_folder, "--model_dir", "conv/1"
    )
    accuracy = number(r"accuracy of the exported model: (\d\.\d+) \(2000", predicted)
    plain = user.script("plain_loop.py", "lenet", mnist_folder, steps, 50)
    assert accuracy >= 0.97
    assert accuracy == pytest.approx(number(r"accuracy: (\d\.\d+)", plain), abs=0.005)
