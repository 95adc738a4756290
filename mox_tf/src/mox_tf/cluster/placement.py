"""Variables on the parameter servers, all the rest on this worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mox_tf.cluster.spec import ClusterSpec
from mox_tf.devices import HERE, VARIABLE_OPS
from mox_tf.tf1 import tf

__all__ = ["cluster_scope"]


@contextmanager
def cluster_scope(spec: ClusterSpec) -> Iterator[None]:
    """The scope in which a worker builds its graph.

    Global variables go to the parameter server that has the fewest bytes so far, so that all
    workers, which build the same graph, find them at the same place. Local variables and all
    operations stay with the worker; what works on a variable is where the variable is.
    """
    place = _Placer(spec)
    token = HERE.set(f"{spec.device}/device:CPU:0")
    try:
        with tf.variable_creator_scope(place.create), tf.device(place.device_of):
            yield
    finally:
        HERE.reset(token)


class _Placer:
    """Finds a device for each operation.

    Args:
        spec: the cluster.
    """

    def __init__(self, spec: ClusterSpec) -> None:
        self._spec = spec
        self._here = tf.DeviceSpec.from_string(spec.device)
        self._bytes_on = [0] * len(spec.ps)
        self._making_own = False

    def create(self, next_creator: Callable[..., Any], **kwargs: Any) -> Any:
        """Makes a variable, and remembers meanwhile whether it belongs to this worker alone."""
        collections = kwargs.get("collections")
        before = self._making_own
        self._making_own = (
            collections is not None and tf.GraphKeys.GLOBAL_VARIABLES not in collections
        )
        try:
            return next_creator(**kwargs)
        finally:
            self._making_own = before

    def device_of(self, op: Any) -> str:
        """The device of a new operation."""
        for tensor in op.inputs:
            if tensor.dtype == tf.resource and tensor.op.device:
                return str(tensor.op.device)
        asked = tf.DeviceSpec.from_string(op.device)
        if asked.job is not None:
            return str(op.device)
        if op.type in VARIABLE_OPS and not self._making_own:
            least = self._bytes_on.index(min(self._bytes_on))
            self._bytes_on[least] += _size(op)
            return self._spec.ps_device(least)
        return str(self._here.make_merged_spec(asked).to_string())


def _size(op: Any) -> int:
    elements = tf.TensorShape(op.get_attr("shape")).num_elements()
    return int((elements or 1) * tf.as_dtype(op.get_attr("dtype")).size)
