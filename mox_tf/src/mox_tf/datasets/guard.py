"""Notices samples that got lost on their way through a `tf.data` pipeline, and says which.

An operation of TensorFlow that fails knows nothing of the file that it was fed. So a pipeline leaves
out what fails; samples are numbered, and where a number is missing, Python looks for the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mox_core.data import SampleError
from mox_core.data.loading import BadSamples
from mox_core.errors import DataError
from mox_tf.datasets.streams import POSITION, Position
from mox_tf.tf1 import tf

__all__ = ["guarded"]


def guarded(
    dataset: Any,
    position: Position,
    *,
    on_error: str,
    reason: Callable[[int], SampleError],
) -> Any:
    """Leaves out samples that fail, and reports them.

    Args:
        dataset: of dicts with a `position`.
        position: of the samples.
        on_error: `stop` or `skip`.
        reason: number of a sample -> why it failed.

    Returns:
        The data set of the same dicts without the position. It raises the sample's error, in
        TensorFlow's clothes, if the policy is to stop.
    """
    bad = BadSamples(on_error)
    in_a_row = [0, -1]  # how many got lost one after the other, up to which

    def report(first: Any, end: Any) -> Any:
        for place in range(int(first), int(end)):
            index = position.index(place)
            error = position.errors.pop(place, None) or reason(index)
            bad.met(error)
            in_a_row[0] = in_a_row[0] + 1 if place == in_a_row[1] + 1 else 1
            in_a_row[1] = place
        if end == position.count:
            bad.report(int(end))
            if bad.count >= int(end) > 0:
                raise DataError(f"none of the {int(end)} samples can be read.")
        return end

    def check(expected: Any, sample: dict[str, Any]) -> Any:
        place = sample[POSITION]

        def ask() -> Any:
            with tf.control_dependencies([tf.py_func(report, [expected, place], tf.int64)]):
                return place + 1

        after = tf.cond(tf.equal(place, expected), lambda: place + 1, ask)
        return after, sample

    dataset = dataset.ignore_errors()
    if position.count is not None:
        dataset = dataset.concatenate(_end(dataset, position.count))
    dataset = dataset.scan(tf.constant(0, tf.int64), check)
    if position.count is not None:
        dataset = dataset.take_while(lambda sample: tf.less(sample[POSITION], position.count))
    return dataset.map(_without_position)


def _without_position(sample: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in sample.items() if name != POSITION}


def _end(dataset: Any, count: int) -> Any:
    """One more element, which comes last whatever gets lost."""

    def make(_: Any) -> dict[str, Any]:
        element = {name: _empty(spec) for name, spec in dataset.element_spec.items()}
        element[POSITION] = tf.constant(count, tf.int64)
        return element

    return tf.data.Dataset.range(1).map(make)


def _empty(spec: Any) -> Any:
    shape = [size or 0 for size in spec.shape.as_list()]
    if isinstance(spec, tf.SparseTensorSpec):
        indices = tf.zeros([0, len(shape)], tf.int64)
        return tf.SparseTensor(indices, _empty(tf.TensorSpec([0], spec.dtype)), shape)
    return tf.fill(shape, "") if spec.dtype == tf.string else tf.zeros(shape, spec.dtype)
