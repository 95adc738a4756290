"""Variables on the parameter servers, all the rest on this worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mox_tf.cluster.spec import ClusterSpec
from mox_tf.devices import VARIABLE_OPS
from mox_tf.tf1 import tf

__all__ = ["cluster_scope"]


@contextmanager
def cluster_scope(spec: ClusterSpec) -> Iterator[None]:
    """The scope in which a worker builds its graph.

    Global variables go to the parameter server that has the fewest bytes so far, so that all
    workers, which build the same graph, find them at the same place. Local variables and all
    operations stay with the worker; what works on a variable is where the variable is.
    """
    with tf.variable_creator_scope(_local_here(spec)), tf.device(_place(spec)):
        yield


def _local_here(spec: ClusterSpec) -> Callable[..., Any]:
    def create(next_creator: Callable[..., Any], **kwargs: Any) -> Any:
        if tf.GraphKeys.LOCAL_VARIABLES not in (kwargs.get("collections") or ()):
            return next_creator(**kwargs)
        with tf.device(f"{spec.device}/device:CPU:0"):
            return next_creator(**kwargs)

    return create


def _place(spec: ClusterSpec) -> Callable[[Any], str]:
    here = tf.DeviceSpec.from_string(spec.device)
    bytes_on = [0] * len(spec.ps)

    def device_of(op: Any) -> str:
        asked = tf.DeviceSpec.from_string(op.device)
        if asked.job is not None:
            return str(op.device)
        for tensor in op.inputs:
            if tensor.dtype == tf.resource and tensor.op.device:
                return str(tensor.op.device)
        if op.type in VARIABLE_OPS:
            least = bytes_on.index(min(bytes_on))
            bytes_on[least] += _size(op)
            return spec.ps_device(least)
        return str(here.make_merged_spec(asked).to_string())

    return device_of


def _size(op: Any) -> int:
    elements = tf.TensorShape(op.get_attr("shape")).num_elements()
    return int((elements or 1) * tf.as_dtype(op.get_attr("dtype")).size)
