"""One script, several engines: the same losses, the same accuracy, and checkpoints that move."""

from __future__ import annotations

import numpy as np
import pytest

import mox_core as mox
from mox_core.converting import convert_checkpoint
from mox_core.errors import CheckpointError


class Losses(mox.RunHook):
    """Keeps the loss of every step."""

    def __init__(self):
        self.values = []

    def next_step(self, step):
        return step

    def on_step_end(self, run, results):
        self.values.append(run.metrics["loss"])


def train(example, engine, folder=None, *, steps, data_url=None, **arguments):
    """Losses of a run of the example."""
    losses = Losses()
    result = example.train(
        data_url or example.mnist_data.DIGITS,
        folder,
        num_epochs=4,
        engine=engine,
        max_number_of_steps=steps,
        inter_mode=None,
        log_every_n_steps=1,
        hooks=[losses],
        **arguments,
    )
    assert result.global_step == steps
    return losses.values


# Larger steps come to where a ReLU or a maximum turns sooner, and there a last bit decides.
@pytest.mark.parametrize(
    ("optimizer", "rate"), [("sgd", 0.02), ("momentum", 0.01), ("adam", 0.0005)]
)
def test_the_first_twenty_losses_are_equal(example, engines, optimizer, rate):
    options = {"optimizer": optimizer, "learning_rate": rate}
    losses = {name: train(example, name, steps=20, **options) for name in engines}
    first, *others = losses.values()
    assert len(first) == 20
    assert first[-1] < first[0]
    for one in others:
        np.testing.assert_allclose(one, first, rtol=1e-4, err_msg=str(list(losses)))


def test_the_accuracy_is_equal(example, engines, mnist_folder, tmp_path):
    accuracies = {}
    for name in engines:
        folder = str(tmp_path / name)
        train(
            example,
            name,
            folder,
            data_url=str(mnist_folder),
            batch_size=100,
            learning_rate=0.02,  # with larger steps, rounding alone takes runs apart
            steps=250,
        )
        result = example.evaluate(str(mnist_folder), folder, engine=name, batch_size=500)
        accuracies[name] = result.metrics["accuracy"]
    assert min(accuracies.values()) > 0.95, accuracies
    assert max(accuracies.values()) - min(accuracies.values()) <= 0.005, accuracies


@pytest.mark.parametrize("place", range(3))
def test_another_engine_goes_on(example, engines, tmp_path, place):
    """With the optimizer's state and the global step, as the first one would have."""
    if place >= len(engines):
        pytest.skip("fewer engines are installed")
    first, second = engines[place], engines[(place + 1) % len(engines)]
    here, there = tmp_path / first, tmp_path / second
    train(example, first, str(here), steps=15, optimizer="adam")
    done = convert_checkpoint(str(here), str(there), to=second)
    assert (done.engine, done.step) == (first, 15)
    evaluated = [
        example.evaluate(example.mnist_data.DIGITS, str(folder), engine=name).metrics
        for name, folder in ((first, here), (second, there))
    ]
    assert evaluated[1]["accuracy"] == evaluated[0]["accuracy"]
    assert evaluated[1]["loss"] == pytest.approx(evaluated[0]["loss"], rel=1e-4)
    went_on = [
        train(example, name, str(folder), steps=25, optimizer="adam")
        for name, folder in ((first, here), (second, there))
    ]
    assert len(went_on[0]) == 10
    np.testing.assert_allclose(went_on[1], went_on[0], rtol=1e-3)


def test_a_checkpoint_of_another_engine_is_named(example, engines, tmp_path):
    first, second = engines[:2]
    train(example, first, str(tmp_path), steps=1)
    with pytest.raises(CheckpointError) as error:
        train(example, second, str(tmp_path), steps=2)
    assert f"is of engine {first!r}, and this run uses {second!r}" in str(error.value)
    assert f"--to {second}" in str(error.value)


def test_every_engine_loads_a_checkpoint_of_tensorflow(example, engines, tmp_path):
    """Without a conversion, and with the optimizer's state."""
    if "tf" not in engines:
        pytest.skip("TensorFlow has to write one")
    train(example, "tf", str(tmp_path), steps=5, optimizer="adam")
    prefix = str(tmp_path / "model.ckpt-5")
    losses = {
        name: example.evaluate(
            example.mnist_data.DIGITS, None, engine=name, checkpoint_path=prefix
        ).metrics["loss"]
        for name in engines
    }
    assert list(losses.values()) == pytest.approx([losses["tf"]] * len(engines), rel=1e-4)
    went_on = [
        train(example, name, steps=10, optimizer="adam", checkpoint_path=prefix) for name in engines
    ]
    for one in went_on:
        assert len(one) == 5
        np.testing.assert_allclose(one, went_on[0], rtol=1e-3)
