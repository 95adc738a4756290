"""What input_fn may return, what model_fn gets of it, and how the input ends and fails."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import tensorflow.compat.v1 as tf
from tensorflow.core.framework.dataset_options_pb2 import Options as DatasetOptions

import mox_core as mox
from mox_core.engine import Fetch
from mox_core.errors import EngineError, SpecError

NUMBERS = np.arange(12, dtype=np.float32)


def numbers(size=3, count=12):
    """0, 1, 2, ... as a data set of batches."""
    return tf.data.Dataset.from_tensor_slices(NUMBERS[:count]).batch(size)


def mean_model(inputs, mode):
    weight = tf.get_variable("weight", shape=[], initializer=tf.zeros_initializer())
    mean = tf.reduce_mean(inputs[0])
    return mox.ModelSpec(
        loss=weight * mean, log_info={"mean": mean}, output_info={"numbers": inputs[0]}
    )


def means(results):
    return [tower["mean"] for one in results for tower in one.values]


# ---- Kinds of input ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        (lambda: tf.constant([1.0]), "list: [1]"),
        (lambda: (tf.constant([1.0]), tf.constant([2.0])), "list: [1, 1]"),
        (lambda: {"x": tf.constant([1.0])}, "dict: {'x': 1}"),
        (lambda: [tf.constant([1.0]), {"y": (tf.constant([2.0]),)}], "list: [1, {'y': (1,)}]"),
        (lambda: numbers(), "list: [1]"),
        (lambda: tf.data.Dataset.zip({"x": numbers(), "y": numbers()}), "dict: {'x': 1, 'y': 1}"),
        (lambda: tf.data.Dataset.zip((numbers(), numbers())), "list: [1, 1]"),
    ],
    ids=["tensor", "tuple", "dict", "nested", "dataset", "dataset_of_dicts", "dataset_of_tuples"],
)
def test_model_fn_gets_a_list_or_the_dict(bench, returned, expected):
    seen = []

    def model_fn(inputs, mode):
        seen.append(
            f"{type(inputs).__name__}: {tf.nest.map_structure(lambda t: t.shape.rank, inputs)}"
        )
        first = tf.nest.flatten(inputs)[0]
        return mox.ModelSpec(log_info={"sum": tf.reduce_sum(first)})

    program = bench.eval(lambda mode: returned(), model_fn)
    assert seen == [expected]
    assert bench.run(program).steps == 1


def test_static_shapes_are_kept(bench):
    shapes = []

    def model_fn(inputs, mode):
        shapes.append(inputs[0].shape.as_list())
        return mean_model(inputs, mode)

    bench.eval(lambda mode: tf.zeros([4, 7]), model_fn)
    bench.eval(lambda mode: numbers(), model_fn)
    assert shapes == [[4, 7], [None]]


def test_sparse_and_ragged_tensors_reach_each_tower(bench):
    def input_fn(mode):
        dataset = tf.data.Dataset.range(4)
        dense = dataset.map(lambda i: tf.fill([2, 3], i) * tf.eye(2, 3, dtype=tf.int64))
        return dense.map(lambda x: (tf.sparse.from_dense(x), tf.RaggedTensor.from_tensor(x)))

    def model_fn(inputs, mode):
        sparse, ragged = inputs
        assert isinstance(sparse, tf.SparseTensor)
        return mox.ModelSpec(
            log_info={
                "sparse": tf.sparse.reduce_sum(sparse),
                "ragged": tf.reduce_sum(ragged.values),
            }
        )

    results = bench.run_to_end(bench.eval(input_fn, model_fn, towers=2))
    assert [one.values for one in results] == [
        [{"sparse": 0, "ragged": 0}, {"sparse": 2, "ragged": 2}],
        [{"sparse": 4, "ragged": 4}, {"sparse": 6, "ragged": 6}],
    ]
    assert results[0].samples == [2, 2]


def test_an_input_that_no_placeholder_feeds_may_be_left_out(bench):
    def model_fn(inputs, mode):
        assert inputs == []
        return mox.ModelSpec(log_info={"one": tf.constant(1.0)})

    assert bench.run(bench.eval(None, model_fn), 3).values == [{"one": 1.0}]


def test_queue_runners_of_the_users_own_are_started(bench):
    def input_fn(mode):
        (number,) = tf.train.slice_input_producer([NUMBERS], num_epochs=1, shuffle=False)
        return tf.train.batch([number], 3)

    program = bench.eval(input_fn, mean_model)
    assert means(bench.run_to_end(program)) == [1, 4, 7, 10]


def test_a_model_that_ignores_its_input_still_ends_with_it(bench):
    def model_fn(inputs, mode):
        return mox.ModelSpec(log_info={"one": tf.constant(1.0)})

    assert len(bench.run_to_end(bench.eval(lambda mode: numbers(), model_fn))) == 4


def test_the_samples_are_counted_where_the_shape_tells(bench):
    program = bench.eval(lambda mode: numbers(size=5), mean_model)
    assert [one.samples for one in bench.run_to_end(program)] == [[5], [5], [2]]
    scalars = tf.data.Dataset.from_tensor_slices
    program = bench.eval(lambda mode: scalars(NUMBERS), mean_model)
    assert bench.run(program).samples == [None]


# ---- Batching ------------------------------------------------------------------------------------


def samples(mode):
    return tf.data.make_one_shot_iterator(tf.data.Dataset.from_tensor_slices(NUMBERS)).get_next()


@pytest.mark.parametrize("input_fn", [samples, lambda mode: numbers(1).unbatch()])
def test_auto_batch_makes_static_batches_for_training(bench, input_fn):
    shapes = []

    def model_fn(inputs, mode):
        shapes.append(inputs[0].shape.as_list())
        return mean_model(inputs, mode)

    program = bench.train(input_fn, model_fn, auto_batch=True, batch_size=5)
    assert shapes == [[5]]
    assert means(bench.run_to_end(program)) == [2, 7]


@pytest.mark.parametrize("input_fn", [samples, lambda mode: numbers(1).unbatch()])
@pytest.mark.parametrize(
    ("towers", "expected"),
    [(1, [[2], [7], [10.5]]), (2, [[2, 7], [10.5]]), (4, [[2, 7, 10.5]])],
)
def test_auto_batch_keeps_the_rest_for_prediction(bench, input_fn, towers, expected):
    program = bench.predict(input_fn, mean_model, auto_batch=True, batch_size=5, towers=towers)
    results = bench.run_to_end(program, Fetch(outputs=True))
    got = [[float(output["numbers"].mean()) for output in one.outputs] for one in results]
    assert got == expected


def test_auto_batch_needs_known_shapes(bench):
    def input_fn(mode):
        unknown = tf.TensorShape([None])
        dataset = tf.data.Dataset.from_generator(lambda: [[1.0]], tf.float32, unknown)
        return tf.data.make_one_shot_iterator(dataset).get_next()

    with pytest.raises(SpecError, match=r"(?s)tensor 0 of input_fn\(TRAIN\).*set_shape"):
        bench.train(input_fn, mean_model, auto_batch=True, batch_size=5)


# ---- Reading ahead -------------------------------------------------------------------------------


@pytest.mark.parametrize("towers", [1, 2])
def test_several_threads_prepare_batches_and_lose_none(bench, towers):
    both = threading.Barrier(2)

    def prepared(batch):
        both.wait(120)  # until a second batch is being prepared
        return batch

    def input_fn(mode):
        batch = tf.data.make_one_shot_iterator(numbers(2)).get_next()
        return tf.ensure_shape(tf.py_func(prepared, [batch], tf.float32), [None])

    flags = {"num_prefetch_threads": 2, "num_inter_threads": 4}
    program = bench.predict(input_fn, mean_model, towers=towers, flags=flags)
    results = bench.run_to_end(program, Fetch(outputs=True))
    read = [batch["numbers"].tolist() for one in results for batch in one.outputs]
    assert sorted(read) == NUMBERS.reshape(-1, 2).tolist()


@pytest.mark.parametrize("threads", [0, -1])
def test_a_number_of_threads_that_is_none_is_refused(bench, threads):
    with pytest.raises(EngineError, match=f"--num_prefetch_threads is {threads}; it has to be 1"):
        bench.eval(lambda mode: numbers(), mean_model, flags={"num_prefetch_threads": threads})


# ---- What is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda: [], "returned an empty list"),
        (lambda: [tf.constant(1.0), np.zeros(3)], r"input_fn\(EVAL\)\[1\] is a numpy ndarray"),
        (lambda: 7, r"input_fn\(EVAL\)\[0\] is an int"),
        (lambda: {"x": "text"}, r"input_fn\(EVAL\)\['x'\] is a str"),
        (lambda: {"x": [tf.constant(1.0), None]}, r"input_fn\(EVAL\)\['x'\]\[1\] is a NoneType"),
    ],
    ids=["empty", "numpy", "python", "string", "none_inside"],
)
def test_what_is_no_tensor_is_named(bench, returned, message):
    with pytest.raises(SpecError, match=message):
        bench.eval(lambda mode: returned(), mean_model)


def test_tensors_made_outside_are_refused(bench):
    with tf.Graph().as_default():
        outside, data = tf.constant([1.0]), numbers()
        for returned in (
            lambda: outside,
            lambda: data,
            lambda: outside + 1.0,
            lambda: tf.data.make_one_shot_iterator(data).get_next(),
        ):
            with pytest.raises(SpecError, match="(?s)outside of input_fn.*another graph"):
                bench.eval(lambda mode, returned=returned: returned(), mean_model)
        with pytest.raises(SpecError, match="(?s)outside of input_fn, model_fn.*another graph"):
            bench.eval(
                lambda mode: numbers(),
                lambda inputs, mode: mox.ModelSpec(log_info={"x": inputs[0] + outside}),
            )


def test_eager_tensors_are_refused(tmp_path):
    """Of a script that imports mox_core, so that TensorFlow is eager until the run begins."""
    script = """
        import tensorflow as tf
        import mox_core as mox

        tensor = tf.constant([1.0])
        data = tf.data.Dataset.from_tensors(tensor)
        v1 = tf.compat.v1

        def model_fn(inputs, mode):
            return mox.ModelSpec(log_info={"sum": tf.reduce_sum(inputs[0])})

        def model_that_uses_it(inputs, mode):
            return mox.ModelSpec(log_info={"sum": tf.reduce_sum(inputs[0] + tensor)})

        from mox_core.engine import EngineConfig, ProgramRequest
        from mox_core.flags import get_flag
        from mox_tf.engine import TensorFlowEngine

        engine = TensorFlowEngine()
        engine.setup(EngineConfig(1, get_flag))
        for input_fn, model in (
            (lambda mode: tensor, model_fn),
            (lambda mode: data, model_fn),
            (lambda mode: tensor + 1.0, model_fn),
            (lambda mode: v1.data.make_one_shot_iterator(data).get_next(), model_fn),
            (lambda mode: v1.constant([1.0]), model_that_uses_it),
        ):
            try:
                engine.build(ProgramRequest(mox.ModeKeys.EVAL, input_fn, model))
            except mox.errors.SpecError as error:
                print(str(error).splitlines()[0])
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 5
    assert all("made outside of input_fn" in line for line in lines), lines


# ---- Failures ------------------------------------------------------------------------------------


def failing_dataset():
    def generate():
        yield from ([1.0], [2.0])
        raise OSError("file 17 is broken")

    return tf.data.Dataset.from_generator(generate, tf.float32, tf.TensorShape([None]))


@pytest.mark.parametrize("towers", [1, 2])
@pytest.mark.parametrize(
    "input_fn",
    [
        lambda mode: failing_dataset(),
        lambda mode: tf.data.make_one_shot_iterator(failing_dataset()).get_next(),
        lambda mode: tf.train.batch(
            [tf.data.make_one_shot_iterator(failing_dataset()).get_next()],
            1,
            enqueue_many=True,
            shapes=[[]],
        ),
    ],
    ids=["dataset", "tensor", "queue_runner"],
)
def test_a_failure_is_no_end_of_the_data(bench, input_fn, towers):
    for build, threads in ((bench.train, 1), (bench.eval, 3)):
        flags = {"num_prefetch_threads": threads}
        program = build(input_fn, mean_model, towers=towers, flags=flags)
        with pytest.raises(EngineError, match=r"(?s)input_fn.*file 17 is broken") as caught:
            for _ in range(3):
                bench.run(program)
        assert len(str(caught.value).splitlines()) == 1


def test_what_was_read_before_a_failure_is_used(bench):
    program = bench.eval(lambda mode: failing_dataset(), mean_model)
    assert means([bench.run(program), bench.run(program)]) == [1, 2]


def test_a_failing_step_names_the_users_line(bench):
    def model_fn(inputs, mode):
        picked = tf.gather([1.0, 2.0], tf.cast(inputs[0], tf.int32))  # this line
        return mean_model([picked], mode)

    program = bench.eval(lambda mode: numbers(), model_fn)
    with pytest.raises(EngineError, match="(?s)GatherV2.*test_inputs.py:[0-9]+.*not in") as caught:
        bench.run(program)
    assert len(str(caught.value).splitlines()) == 2


def test_close_does_not_wait_for_a_generator_that_waits(bench):
    go_on = threading.Event()

    def generate():
        yield [1.0]
        go_on.wait()

    def input_fn(mode):
        return tf.data.Dataset.from_generator(generate, tf.float32, tf.TensorShape([None]))

    program = bench.eval(input_fn, mean_model)
    bench.run(program)
    closing = threading.Thread(target=program.close)
    closing.start()
    closing.join(60)
    assert not closing.is_alive()
    go_on.set()


def tuned(dataset):
    options = tf.data.Options()
    options.autotune.enabled = True
    return dataset.with_options(options)


@pytest.mark.parametrize(
    ("input_fn", "autotuning"),
    [
        (lambda mode: numbers(), False),
        (lambda mode: tf.data.make_one_shot_iterator(numbers()).get_next(), False),
        (lambda mode: tuned(numbers()), True),
        (lambda mode: tf.data.make_one_shot_iterator(tuned(numbers())).get_next(), True),
    ],
)
def test_no_thread_tunes_the_data_unless_the_script_wants_it(bench, input_fn, autotuning):
    """TensorFlow's closing of a session waits for that thread, up to a minute, now and then."""
    program = bench.eval(input_fn, mean_model)
    graph = tf.GraphDef.FromString(program.graph_def())
    nodes = [
        *graph.node,
        *(node for function in graph.library.function for node in function.node_def),
    ]
    found = [
        DatasetOptions.FromString(node.attr["serialized_options"].s).autotune_options.enabled
        for node in nodes
        if node.op == "OptionsDataset"
    ]
    assert set(found) == {autotuning}
    assert means(bench.run_to_end(program)) == [1, 4, 7, 10]


@pytest.mark.parametrize("prefetch_threads", [1, 9])
@pytest.mark.parametrize("steps", [0, 1])
def test_close_ends_the_threads(bench, steps, prefetch_threads):
    before = set(threading.enumerate())
    flags = {"num_prefetch_threads": prefetch_threads}
    for build in (bench.train, bench.eval):
        program = build(lambda mode: numbers().repeat(), mean_model, towers=2, flags=flags)
        if steps:
            bench.run(program)
        program.close()
    assert not set(threading.enumerate()) - before
