"""Learning-rate schedules as tensors of the graph."""

from __future__ import annotations

from typing import Any

from mox_core.optim import Schedule
from mox_tf.tf1 import tf

__all__ = ["learning_rate_tensor", "schedule_tensor"]


class _GraphOps:
    """TensorFlow's operations, in double precision: steps go beyond what float32 can count."""

    def to_float(self, value: Any) -> Any:
        # tf.cast would make a float32 of a Python number first.
        return tf.cast(value if tf.is_tensor(value) else tf.constant(value, tf.float64), tf.float64)

    def where(self, condition: Any, then: Any, otherwise: Any) -> Any:
        return tf.where(condition, self.to_float(then), self.to_float(otherwise))

    def less(self, left: Any, right: Any) -> Any:
        return tf.less(left, right)

    def minimum(self, left: Any, right: Any) -> Any:
        return tf.minimum(self.to_float(left), self.to_float(right))

    def maximum(self, left: Any, right: Any) -> Any:
        return tf.maximum(self.to_float(left), self.to_float(right))

    def ceil(self, value: Any) -> Any:
        return tf.ceil(self.to_float(value))

    def power(self, base: Any, exponent: Any) -> Any:
        return tf.pow(self.to_float(base), self.to_float(exponent))

    def cos(self, radians: Any) -> Any:
        return tf.cos(self.to_float(radians))


def schedule_tensor(schedule: Schedule, global_step: Any = None, *, dtype: Any = tf.float32) -> Any:
    """The schedule's learning rate as a scalar.

    Args:
        schedule: the formula.
        global_step: what it is a function of; None: the graph's global step.
        dtype: of the result.
    """
    step = tf.train.get_or_create_global_step() if global_step is None else global_step
    with tf.name_scope("learning_rate"):
        return tf.cast(schedule.evaluate(step, _GraphOps()), dtype)


def learning_rate_tensor(learning_rate: Any) -> Any:
    """What an optimizer takes: a schedule becomes a tensor, all else stays as it is."""
    if isinstance(learning_rate, Schedule):
        return schedule_tensor(learning_rate)
    return learning_rate
