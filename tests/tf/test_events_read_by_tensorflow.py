from __future__ import annotations

import pytest

from mox_core.hooks.events import EventFileWriter, read_events

tf = pytest.importorskip("tensorflow").compat.v1


def only_file(folder):
    (path,) = folder.iterdir()
    return path


def test_tensorflow_reads_every_kind_of_event(tmp_path):
    with tf.Graph().as_default() as graph:
        tf.constant(1.0, name="one")
    summary = tf.Summary(value=[tf.Summary.Value(tag="own", simple_value=0.25)])
    writer = EventFileWriter(tmp_path)
    writer.add_session_start(10)
    writer.add_graph(graph.as_graph_def().SerializeToString())
    writer.add_scalars(11, {"loss": 0.5, "accuracy": 0.1})
    writer.add_summary(12, summary.SerializeToString())
    writer.close()

    version, start, graph_event, scalars, own = tf.train.summary_iterator(str(only_file(tmp_path)))
    assert version.file_version == "brain.Event:2"
    assert (start.step, start.session_log.status) == (10, tf.SessionLog.START)
    assert tf.GraphDef.FromString(graph_event.graph_def) == graph.as_graph_def()
    assert scalars.step == 11
    assert {value.tag: value.simple_value for value in scalars.summary.value} == {
        "loss": 0.5,
        "accuracy": pytest.approx(0.1),
    }
    assert (own.step, own.summary) == (12, summary)
    assert version.wall_time <= own.wall_time


def test_mox_reads_the_scalars_that_tensorflow_writes(tmp_path):
    with tf.Graph().as_default():
        writer = tf.summary.FileWriter(str(tmp_path))
        writer.add_summary(tf.Summary(value=[{"tag": "loss", "simple_value": 0.5}]), 3)
        writer.close()
    assert [(step, scalars) for step, _, scalars in read_events(only_file(tmp_path))] == [
        (3, {"loss": 0.5})
    ]


def test_tensorboard_reads_scalars_and_forgets_what_a_resumed_run_repeats(tmp_path):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    writer = EventFileWriter(tmp_path)
    for step in range(6):
        writer.add_scalars(step, {"loss": step})
    writer.close()
    resumed = EventFileWriter(tmp_path, ".resumed")
    resumed.add_session_start(3)
    for step in range(3, 5):
        resumed.add_scalars(step, {"loss": 10 * step})
    resumed.close()

    accumulator = accumulators.EventAccumulator(str(tmp_path))
    accumulator.Reload()
    assert accumulator.Tags()["scalars"] == ["loss"]
    assert [(event.step, event.value) for event in accumulator.Scalars("loss")] == [
        (0, 0),
        (1, 1),
        (2, 2),
        (3, 30),
        (4, 40),
    ]
