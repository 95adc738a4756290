"""The manual's scripts and the convolutional network on the real MNIST, beside loops by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("towers", [1, 2, 4])
def test_the_manuals_scripts(user, mnist_folder, towers, number):
    """N towers take N batches per step, so the loop by hand takes batches N times as large.

    The manual reads its flags before it imports mox; `mox run` lets it have flags of mox all the
    same.
    """
    data, folder = f"--data_url={mnist_folder}", f"--train_url=manual-{towers}"
    script = [user.scripts / "manual_train.py", data, folder]
    if towers > 1:
        script = ["-m", "mox_core.cli", "run", *script, f"--num_gpus={towers}"]
    steps = 5 * 8000 // 100 // towers
    by_hand = (user.scripts / "plain_loop.py", "softmax", mnist_folder, steps, 100 * towers)
    trained, plain = user.run_together(script, by_hand)
    assert f"Saving checkpoints for {steps} into manual-{towers}/model.ckpt." in trained
    assert ("logical" in trained) == (towers > 1)  # it says that CPU devices stand in for GPUs
    # 20 batches; on 3 towers the last step has only two.
    evaluate = [user.scripts / "manual_eval.py", data, folder]
    evaluated, *on_towers = user.run_together(
        evaluate,
        *([["-m", "mox_core.cli", "run", *evaluate, "--num_gpus=3"]] if towers == 1 else []),
    )
    pattern = rf"\[EVAL\] global step: {steps}, 20 batches, 2000 samples\taccuracy: (\d\.\d+)"
    accuracy = number(pattern, evaluated)
    for other in on_towers:
        assert accuracy == pytest.approx(number(pattern, other), abs=1e-3)
    assert accuracy == pytest.approx(number(r"accuracy: (\d\.\d+)", plain), abs=0.002)
    assert accuracy >= (0.89 if towers == 1 else 0.87)  # fewer updates, the same learning rate


@pytest.mark.slow
def test_convolutional_network(user, mnist_folder, number):
    data = ("--data_url", mnist_folder)
    steps = 5 * 8000 // 50
    train = (EXAMPLES / "train_mnist_conv.py", *data, "--log_dir", "conv", "--num_epochs=5")
    by_hand = (user.scripts / "plain_loop.py", "lenet", mnist_folder, steps, 50)
    _, plain = user.run_together(train, by_hand)
    predicted = user.example("predict_exported.py", *data, "--model_dir", "conv/1")
    accuracy = number(r"accuracy of the exported model: (\d\.\d+) \(2000", predicted)
    assert accuracy >= 0.97
    assert accuracy == pytest.approx(number(r"accuracy: (\d\.\d+)", plain), abs=0.005)
