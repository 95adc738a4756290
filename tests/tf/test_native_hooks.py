"""TensorFlow's session hooks in ModelSpec.hooks."""

from __future__ import annotations

import logging

import pytest

pytest.importorskip("tensorflow")

import tensorflow.compat.v1 as tf

import mox_core as mox
import mox_tf
from mox_core.engine import Fetch
from mox_core.errors import SpecError


def numbers(mode):
    return tf.data.Dataset.from_tensor_slices([[1.0], [2.0], [3.0], [4.0]])


def spec_of(inputs, hooks, **more):
    weight = tf.get_variable("weight", [], initializer=tf.ones_initializer())
    mean = tf.reduce_mean(inputs[0])
    return mox.ModelSpec(loss=weight * mean, log_info={"mean": mean}, hooks=hooks, **more)


class Recorder(tf.train.SessionRunHook):
    """Notes what it is told."""

    def __init__(self, notes, tensor=None):
        self.notes = notes
        self.tensor = tensor

    def begin(self):
        self.notes.append("begin")
        tf.constant(1.0, name="made_by_a_hook")  # the graph may still grow

    def after_create_session(self, session, coord):
        self.notes.append(f"session at step {session.run(tf.train.get_global_step())}")

    def before_run(self, run_context):
        assert run_context.session.graph is tf.get_default_graph()
        return None if self.tensor is None else tf.train.SessionRunArgs({"seen": self.tensor})

    def after_run(self, run_context, run_values):
        self.notes.append(run_values.results)

    def end(self, session):
        self.notes.append(f"end at step {session.run(tf.train.get_global_step())}")


def test_a_hook_is_told_of_the_whole_life(bench, tmp_path):
    notes = []
    program = bench.train(numbers, lambda inputs, mode: spec_of(inputs, [Recorder([])]))
    bench.run(program, 2)
    program.save(str(tmp_path / "a"))
    program = bench.train(
        numbers, lambda inputs, mode: spec_of(inputs, [Recorder(notes, inputs[0])])
    )
    assert notes == ["begin"]
    program.restore(str(tmp_path / "a"), lambda name: True)
    results = bench.run(program, 3)
    assert results.values == [{"mean": 3.0}]
    program.close()
    assert notes == [
        "begin",
        "session at step 2",
        {"seen": [1.0]},
        {"seen": [2.0]},
        {"seen": [3.0]},
        "end at step 5",
    ]


def test_a_run_that_fails_does_not_end_hooks(bench):
    notes = []

    def model_fn(inputs, mode):
        picked = tf.gather([[0.0], [1.0]], tf.cast(inputs[0], tf.int32))
        return spec_of([picked], [Recorder(notes)])

    program = bench.train(numbers, model_fn)
    with pytest.raises(mox.MoxError):
        bench.run(program, 3)
    program.close()
    assert notes == ["begin", "session at step 0", None]


def test_a_hook_feeds_a_placeholder_of_model_fn(bench):
    """Example 2 of ModelSpec in the manual."""

    def model_fn(inputs, run_mode, **kwargs):
        del inputs
        x = tf.placeholder(dtype=tf.float32, shape=())

        class FeedRunHook(mox_tf.AggregativeSessionRunHook):
            value = 0.0

            def before_run(self, run_context):
                self.value += 1.0
                return tf.train.SessionRunArgs(fetches=None, feed_dict={x: self.value})

        return mox.ModelSpec(log_info={"x": x}, hooks=[FeedRunHook()])

    program = bench.eval(numbers, model_fn)
    assert [one.values for one in bench.run_to_end(program)] == [[{"x": i}] for i in range(1, 5)]
    program = bench.eval(numbers, model_fn, towers=2)
    assert bench.run(program, 2).values == [{"x": 2.0}, {"x": 2.0}]


@pytest.mark.parametrize("towers", [1, 2])
def test_a_hook_feeds_a_placeholder_of_input_fn(bench, towers):
    placeholders = []

    class Feed(mox_tf.AggregativeSessionRunHook):
        def support_aggregation(self):
            return True

        def before_run(self, run_context):
            return tf.train.SessionRunArgs(None, {placeholders[-1]: [[2.0], [4.0]]})

    def input_fn(mode):
        placeholders.append(tf.placeholder(tf.float32, [None, 1]))
        return placeholders[-1] * 2.0

    program = bench.train(input_fn, lambda inputs, mode: spec_of(inputs, [Feed()]), towers=towers)
    results = bench.run(program, 2)
    assert results.values == [{"mean": 6.0}] * towers
    assert results.samples == [2] * towers


def test_two_hooks_cannot_feed_one_tensor(bench):
    def model_fn(inputs, mode):
        x = tf.placeholder_with_default(0.0, [])

        class Feed(tf.train.SessionRunHook):
            def before_run(self, run_context):
                return tf.train.SessionRunArgs(None, {x: 1.0})

        return mox.ModelSpec(log_info={"x": x}, hooks=[Feed(), Feed()])

    program = bench.eval(numbers, model_fn)
    with pytest.raises(SpecError, match="two hooks feed 'PlaceholderWithDefault:0'"):
        bench.run(program)


def test_a_hook_stops_the_steps(bench):
    def model_fn(inputs, mode):
        return spec_of(inputs, [tf.train.StopAtStepHook(last_step=2)])

    results = bench.run(bench.train(numbers, model_fn), 4)
    assert (results.steps, results.global_step, results.ended) == (2, 2, "hook")


def test_hooks_of_tensorflow_work(bench, tmp_path, caplog):
    def model_fn(inputs, mode):
        mean = tf.reduce_mean(inputs[0], name="mean")
        return spec_of(
            inputs,
            [
                tf.train.LoggingTensorHook({"hooked": mean}, every_n_iter=2),
                tf.train.CheckpointSaverHook(str(tmp_path), save_steps=2),
                tf.train.NanTensorHook(mean),
                tf.train.StepCounterHook(every_n_steps=2, output_dir=str(tmp_path)),
                tf.train.ProfilerHook(save_steps=2, output_dir=str(tmp_path)),
            ],
        )

    with caplog.at_level(logging.INFO, logger="tensorflow"):
        program = bench.train(numbers, model_fn)
        bench.run(program, 4)
        program.close()
    assert "hooked = 3.0" in caplog.text
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "model.ckpt-4")
    assert list(tmp_path.glob("timeline-*.json"))


@pytest.mark.parametrize(("aggregates", "told"), [(False, 2), (True, 1)])
def test_one_instance_serves_all_towers_where_it_says_so(bench, aggregates, told):
    notes = []

    class Hook(mox_tf.AggregativeSessionRunHook):
        def support_aggregation(self):
            return aggregates

        def after_run(self, run_context, run_values):
            notes.append("told")

    bench.run(bench.train(numbers, lambda i, mode: spec_of(i, [Hook()]), towers=2))
    assert notes == ["told"] * told


@pytest.mark.parametrize("in_inter_mode", [False, True])
def test_hooks_run_in_the_inter_mode_where_they_say_so(bench, in_inter_mode):
    notes = []

    class Hook(mox_tf.AggregativeSessionRunHook):
        def __init__(self, mode):
            self.mode = str(mode)

        def run_inter_mode(self):
            return in_inter_mode

        def begin(self):
            notes.append(f"begin {self.mode}")

        def after_run(self, run_context, run_values):
            notes.append(f"step {self.mode}")

    made = []

    def model_fn(inputs, mode):
        spec = spec_of(inputs, [Hook(mode)])
        made.append(spec)
        return spec

    program = bench.train(numbers, model_fn, inter_mode=mox.ModeKeys.EVAL)
    bench.run(program)
    program.evaluate({"mean": made[1].log_info["mean"]}, 2, lambda: False)
    begun = ["begin TRAIN", "begin EVAL"] if in_inter_mode else ["begin TRAIN"]
    assert notes == [*begun, "step TRAIN", *(["step EVAL"] * 2 if in_inter_mode else [])]


def test_hooks_do_not_hide_the_results(bench):
    def model_fn(inputs, mode):
        return spec_of(inputs, [Recorder([], inputs[0])], output_info={"numbers": inputs[0]})

    program = bench.predict(numbers, model_fn, towers=2)
    results = bench.run_to_end(program, Fetch(values=True, outputs=True))
    assert [[o["numbers"].tolist() for o in one.outputs] for one in results] == [
        [[1.0], [2.0]],
        [[3.0], [4.0]],
    ]
