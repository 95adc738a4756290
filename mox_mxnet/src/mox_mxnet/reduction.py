"""Sums of gradients over the contexts of this process, and over processes, in MXNet's kvstore."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mox_mxnet.distributed import Group
from mox_mxnet.importing import load
from mox_mxnet.settings import Settings

__all__ = ["Reducer", "make_reducer"]

mx = load()

Gradients = Sequence[list[Any]]


def make_reducer(settings: Settings, group: Group | None) -> Reducer | None:
    """Returns what adds up gradients; None where there is one context in one process."""
    if group is not None:
        return Reducer(group.kvstore, group)
    if len(settings.contexts) > 1:
        return Reducer(mx.kv.create(settings.kvstore))
    return None


class Reducer:
    """Adds up gradients.

    Args:
        kvstore: MXNet's.
        group: of processes that share it, or None.
    """

    def __init__(self, kvstore: Any, group: Group | None = None) -> None:
        self._kvstore = kvstore
        self._group = group
        self._keys: list[str] = []
        self._zeros: list[Any] = []

    def prepare(self, gradients: Gradients) -> None:
        """Makes places for gradients; all processes call it before their first forward pass.

        A kvstore that makes them at the first push loses gradients now and then.
        """
        self._keys = [f"gradient {number}" for number in range(len(gradients))]
        self._zeros = [mx.nd.zeros_like(one[0]) for one in gradients]
        for key, zeros in zip(self._keys, self._zeros, strict=True):
            self._kvstore.init(key, zeros)
        if self._group:
            self._group.barrier()

    def reduce(self, gradients: Gradients) -> None:
        """Puts the sum over all contexts and processes into the first array of each gradient."""
        if not self._keys:
            self.prepare(gradients)
        self._kvstore.push(self._keys, list(gradients))
        if self._group:
            mx.nd.waitall()  # what is pulled earlier may be the sum of the step before
        self._kvstore.pull(self._keys, out=[one[0] for one in gradients])

    def skip(self) -> None:
        """Takes part in `reduce` without gradients, so that the others do not wait for ever."""
        self.reduce([[one] for one in self._zeros])
        mx.nd.waitall()
