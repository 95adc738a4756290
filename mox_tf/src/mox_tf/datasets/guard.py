"""Notices samples that got lost on their way through a `tf.data` pipeline, and says which.

An operation of TensorFlow that fails knows nothing of the file that it was fed. So a pipeline
leaves out what fails; samples are numbered, and where a number is missing, Python looks for the
reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mox_core.data import SampleError
from mox_core.data.loading import BadSamples
from mox_core.errors import DataError
from mox_tf.datasets.streams import POSITION, Position
from mox_tf.tf1 import as_it_is, tf

__all__ = ["guarded"]

_BATCHES_AHEAD = 1


def guarded(
    dataset: Any,
    position: Position,
    *,
    batch_size: int | None,
    on_error: str,
    reason: Callable[[int], SampleError],
) -> Any:
    """Leaves out samples that fail, reports them, and makes batches of the others.

    Batches are checked as a whole, which costs less than to check sample by sample.

    Args:
        dataset: of dicts with a `position`.
        position: of the samples.
        batch_size: samples per batch; None: single samples.
        on_error: `stop` or `skip`.
        reason: number of a sample -> why it failed.

    Returns:
        The data set of the same dicts without the position; the last batch may be smaller. It
        raises the sample's error, in TensorFlow's clothes, if the policy is to stop.
    """
    bad = BadSamples(on_error)
    position.patient = on_error == "skip"
    known: dict[int, SampleError] = {}

    def error_at(place: int) -> SampleError:
        error = position.errors.pop(place, None)
        if error is not None:
            return error
        index = position.index(place)
        if index not in known:
            known[index] = reason(index)
        return known[index]

    def report(expected: Any, places: Any) -> Any:
        """Called with the first samples, after a gap, and at the end."""
        places = np.atleast_1d(places)
        end = int(places[-1]) + 1
        ended = end > position.end
        if ended:
            _raise_failure(position, bad, error_at)
            end = position.handed_out
            places = places[:0]
        position.arrived = not ended
        there = set(places.tolist())
        for place in range(max(int(expected), 0), end):
            if place not in there:
                bad.met(error_at(place))
        if ended:
            bad.report(end)
            if bad.count >= end > 0:
                raise DataError(f"none of the {end} samples can be read.")
        return np.int64(end)

    @as_it_is
    def check(expected: Any, samples: dict[str, Any]) -> Any:
        places = samples[POSITION]
        first, last, count = places, places, tf.constant(1, tf.int64)
        if batch_size is not None:
            first, last = places[0], places[-1]
            count = tf.size(places, out_type=tf.int64)
        whole = tf.logical_and(tf.equal(first, expected), tf.equal(last, expected + count - 1))

        def ask() -> Any:
            end = tf.py_func(report, [expected, places], tf.int64)
            end.set_shape([])
            return end

        return tf.cond(whole, lambda: last + 1, ask), samples

    if position.is_empty:
        return dataset.map(_without_position)
    dataset = dataset.ignore_errors()
    if batch_size is not None:
        # Images are decoded on while what follows waits for a thread of the same pool.
        dataset = dataset.batch(batch_size).prefetch(_BATCHES_AHEAD)
        position.in_batches = (_BATCHES_AHEAD + 2) * batch_size
    dataset = dataset.concatenate(_end(dataset, position.end))
    dataset = dataset.scan(tf.constant(-1, tf.int64), check)
    if position.count is not None:
        goes_on = as_it_is(
            lambda samples: tf.less(tf.reshape(samples[POSITION], [-1])[0], position.end)
        )
        dataset = dataset.take_while(goes_on)
    return dataset.map(_without_position)


def _raise_failure(
    position: Position, bad: BadSamples, error_at: Callable[[int], SampleError]
) -> None:
    """Raises what ended the reading, if anything did."""
    if position.failure is None:
        return
    if position.arrived or not isinstance(position.failure, DataError):
        raise position.failure
    first = error_at(0)
    if bad.policy == "stop":
        bad.met(first)
    raise DataError(f"{position.failure}; the first one: {first}")


@as_it_is
def _without_position(sample: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in sample.items() if name != POSITION}


def _end(dataset: Any, count: int) -> Any:
    """One more element, which comes last whatever gets lost."""

    @as_it_is
    def make(_: Any) -> dict[str, Any]:
        element = {name: _empty(spec) for name, spec in dataset.element_spec.items()}
        element[POSITION] = tf.fill([1] * dataset.element_spec[POSITION].shape.rank, count)
        element[POSITION] = tf.cast(element[POSITION], tf.int64)
        return element

    return tf.data.Dataset.range(1).map(make)


def _empty(spec: Any) -> Any:
    shape = [size or 0 for size in spec.shape.as_list()]
    if isinstance(spec, tf.SparseTensorSpec):
        indices = tf.zeros([0, len(shape)], tf.int64)
        return tf.SparseTensor(indices, _empty(tf.TensorSpec([0], spec.dtype)), shape)
    return tf.fill(shape, "") if spec.dtype == tf.string else tf.zeros(shape, spec.dtype)
