"""A loss scale that is found while training, for gradients in half precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mox_tf.devices import INPUT_DEVICE
from mox_tf.tf1 import tf

__all__ = ["DynamicLossScale"]

_FIRST = 2.0**15
_STEPS_TO_DOUBLE = 2000


class DynamicLossScale:
    """Halves when a gradient is not finite, doubles after 2000 steps in a row that are.

    It is kept in checkpoints, as state that a checkpoint may lack.

    Attributes:
        value: the scale of the present step, a float32 scalar.
    """

    def __init__(self) -> None:
        with tf.device(INPUT_DEVICE):
            self._scale = _state("loss_scale/value", tf.constant(_FIRST))
            self._good_steps = _state("loss_scale/good_steps", tf.constant(0, tf.int64))
            self.value = self._scale.read_value()
            self._so_far = self._good_steps.read_value()

    def all_finite(self, gradients: Sequence[Any]) -> Any:
        """A boolean scalar. The gradients may be dense or sparse."""
        values = [g.values if isinstance(g, tf.IndexedSlices) else g for g in gradients]
        return tf.reduce_all([tf.reduce_all(tf.is_finite(value)) for value in values])

    def adapt(self, finite: Any) -> Any:
        """The operation that sets the scale of the next step."""
        with tf.device(INPUT_DEVICE), tf.name_scope("loss_scale/adapt"):
            run = tf.where(finite, self._so_far + 1, tf.zeros_like(self._so_far))
            doubles = tf.equal(run, _STEPS_TO_DOUBLE)
            doubled = tf.where(tf.is_finite(self.value * 2), self.value * 2, self.value)
            grown = tf.where(doubles, doubled, self.value)
            shrunk = tf.maximum(self.value / 2, 1.0)
            return tf.group(
                self._scale.assign(tf.where(finite, grown, shrunk)),
                self._good_steps.assign(tf.where(doubles, tf.zeros_like(run), run)),
            )


def _state(name: str, initial_value: Any) -> Any:
    return tf.Variable(initial_value, trainable=False, name=name, use_resource=True)
