"""--profile_steps and --xla."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import tensorflow.compat.v1 as tf

import mox_core as mox
import mox_tf
from mox_core.errors import EngineError


def train(log_dir, steps=6):
    def input_fn(mode):
        return tf.data.Dataset.from_tensor_slices(np.ones([40, 4], np.float32)).batch(2).repeat()

    def model_fn(inputs, mode):
        weights = tf.get_variable("weights", [4, 3], initializer=tf.ones_initializer())
        with tf.name_scope("my_layer"):
            net = tf.nn.softmax(tf.tanh(inputs[0] @ weights * 2.0 + 1.0) * weights[0])
        loss = tf.reduce_sum(tf.square(net))
        return mox.ModelSpec(loss=loss, log_info={"loss": loss})

    return mox_tf.run(
        input_fn=input_fn,
        model_fn=model_fn,
        optimizer_fn=mox_tf.get_optimizer_fn("sgd", 0.1),
        run_mode=mox.ModeKeys.TRAIN,
        max_number_of_steps=steps,
        log_dir=log_dir,
    )


def traced(folder):
    """Step -> names of the operations in its trace."""
    traces = {}
    for path in folder.glob("*.json"):
        events = json.loads(path.read_text())["traceEvents"]
        traces[int(path.stem.removeprefix("step-"))] = {
            event["args"]["name"] for event in events if event["ph"] == "X"
        }
    return traces


@pytest.mark.parametrize(("flag", "steps"), [("0,1", {0, 1}), ("3, 4", {3, 4}), ("5", {5})])
def test_the_steps_asked_for_are_traced(tmp_path, monkeypatch, flag, steps):
    monkeypatch.setenv("MOX_PROFILE_STEPS", flag)
    train(tmp_path)
    traces = traced(tmp_path / "profile")
    assert set(traces) == steps
    for names in traces.values():
        assert any(name.startswith("my_layer/") for name in names)
        assert any("GradientDescent" in name for name in names)


def test_a_resumed_run_traces_what_is_left(tmp_path, monkeypatch):
    train(tmp_path, steps=3)
    monkeypatch.setenv("MOX_PROFILE_STEPS", "2,3")
    train(tmp_path, steps=6)
    assert set(traced(tmp_path / "profile")) == {3}


@pytest.mark.parametrize("flag", ["1,2,3", "5,4", "first"])
def test_a_range_that_is_none_is_refused(tmp_path, monkeypatch, flag):
    monkeypatch.setenv("MOX_PROFILE_STEPS", flag)
    with pytest.raises(EngineError, match="first and the last step, such as"):
        train(tmp_path)


def test_traces_need_a_log_dir(monkeypatch):
    monkeypatch.setenv("MOX_PROFILE_STEPS", "1")
    with pytest.raises(EngineError, match="--profile_steps needs log_dir"):
        train(None)
