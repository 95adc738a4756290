"""Evaluation in the middle of training."""

from __future__ import annotations

import pytest

pytest.importorskip("tensorflow")

import tensorflow.compat.v1 as tf

import mox_core as mox
from mox_core.errors import EngineError, SpecError

EVAL = mox.ModeKeys.EVAL


def numbers(values, batch=2):
    return tf.data.Dataset.from_tensor_slices([float(value) for value in values]).batch(batch)


def never():
    return False


class Model:
    """Counts its calls and keeps what it made last, in the inter mode."""

    def __init__(self):
        self.calls = []

    def __call__(self, inputs, mode):
        self.calls.append(str(mode))
        weight = tf.get_variable("weight", [], initializer=tf.ones_initializer())
        self.weight = tf.identity(weight)
        self.mean = tf.reduce_mean(inputs[0])
        self.running_mean = tf.metrics.mean(self.mean)[1]
        info = {"mean": self.mean}
        return mox.ModelSpec(loss=weight * self.mean, log_info=info)


def build(bench, eval_input, towers=1, **request):
    model = Model()

    def input_fn(mode):
        return numbers(range(100)) if mode == mox.ModeKeys.TRAIN else eval_input()

    program = bench.train(input_fn, model, towers=towers, inter_mode=EVAL, **request)
    return model, program


def test_model_fn_is_called_once_more(bench):
    model, _ = build(bench, lambda: numbers([1, 2]), towers=2)
    assert model.calls == ["TRAIN", "TRAIN", "EVAL"]


@pytest.mark.parametrize(
    "variable_update", ["parameter_server", "replicated", "distributed_replicated"]
)
def test_the_inter_mode_sees_what_the_towers_have_learned(bench, variable_update):
    flags = {"variable_update": variable_update}
    model, program = build(bench, lambda: numbers([1]), towers=2, flags=flags)
    bench.run(program, 2)
    ((values, _),) = program.evaluate({"weight": model.weight}, 1, never)
    assert values["weight"] == pytest.approx(1 - 0.1 * (0.5 + 2.5 + 4.5 + 6.5) / 2)
    assert values["weight"] == program.variables()["weight"]


def test_tensors_that_ended_do_not_begin_again(bench):
    model, program = build(
        bench, lambda: tf.data.make_one_shot_iterator(numbers([1, 3, 5])).get_next()
    )
    values = {"mean": model.mean}
    assert program.evaluate(values, 5, never) == [({"mean": 2.0}, 2), ({"mean": 5.0}, 1)]
    assert program.evaluate(values, 5, never) == []


@pytest.mark.parametrize("as_tensor", [False, True])
def test_single_samples_are_batched(bench, as_tensor):
    def eval_input():
        dataset = numbers([1, 3, 5], batch=1).unbatch()
        return tf.data.make_one_shot_iterator(dataset).get_next() if as_tensor else dataset

    model = Model()

    def input_fn(mode):
        return numbers(range(100), batch=1).unbatch() if mode != EVAL else eval_input()

    program = bench.train(input_fn, model, inter_mode=EVAL, auto_batch=True, batch_size=2)
    values = {"mean": model.mean}
    assert program.evaluate(values, 5, never) == [({"mean": 2.0}, 2), ({"mean": 5.0}, 1)]
    again = program.evaluate(values, 5, never)
    assert again == ([] if as_tensor else [({"mean": 2.0}, 2), ({"mean": 5.0}, 1)])


def test_counts_of_tf_metrics_begin_anew(bench):
    model, program = build(bench, lambda: numbers([1, 3, 5, 7]))
    for _ in range(2):
        rows = program.evaluate({"mean": model.running_mean}, 2, never)
        assert [values["mean"] for values, _ in rows] == [2.0, 4.0]


def test_data_that_end_with_the_last_step_begin_again(bench):
    model, program = build(bench, lambda: numbers([1, 3, 5, 7]))
    for _ in range(3):
        assert len(program.evaluate({"mean": model.mean}, 2, never)) == 2


def test_empty_data_give_nothing(bench):
    model, program = build(bench, lambda: numbers([1]).take(0))
    assert program.evaluate({"mean": model.mean}, 2, never) == []
    assert bench.run(program).steps == 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda model: 1.0, r"monitor_info\['x'\] is a float"),
        (lambda model: tf.constant(1.0), r"monitor_info\['x'\] is a .*Tensor that is no tensor of"),
    ],
)
def test_what_is_no_tensor_of_the_model_is_refused(bench, value, message):
    model, program = build(bench, lambda: numbers([1]))
    with tf.Graph().as_default(), pytest.raises(SpecError, match=message):
        program.evaluate({"x": value(model)}, 1, never)


def test_what_is_no_scalar_is_refused(bench):
    made = []

    def model_fn(inputs, mode):
        made.append(inputs[0])
        return Model()(inputs, mode)

    program = bench.train(lambda mode: numbers([1, 2]), model_fn, inter_mode=EVAL)
    with pytest.raises(SpecError, match=r"monitor_info\['x'\] has shape"):
        program.evaluate({"x": made[1]}, 1, never)


def test_a_failure_of_the_data_is_told(bench):
    def generate():
        yield [1.0]
        raise OSError("file 17 is broken")

    def eval_input():
        return tf.data.Dataset.from_generator(generate, tf.float32, tf.TensorShape([None]))

    model, program = build(bench, eval_input)
    with pytest.raises(EngineError, match="(?s)EVAL.*file 17 is broken"):
        program.evaluate({"mean": model.mean}, 2, never)
