"""Means of gradients over processes, exchanged while the backward pass goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

__all__ = ["GradientExchange"]

_FIRST_BYTES, _BYTES = 2**20, 4 * 2**20
"""Sizes of buckets: the first is sent soon, the others are large enough for few messages."""


@dataclass(eq=False)
class _Bucket:
    """Parameters whose gradients travel together.

    Args:
        parameters: of one dtype.
        flat: their gradients, one behind the other.
        places: where in it each has its own, in the shape and order in memory of the parameter.
    """

    parameters: list[nn.Parameter]
    flat: torch.Tensor
    places: list[torch.Tensor]
    lacking: set[int] = field(default_factory=set)
    work: Any = None


class GradientExchange:
    """Exchanges the gradients of the last backward pass of each step.

    A bucket is sent as soon as all of its gradients are there, which come last layer first. All
    processes send them in one order, whichever is ready first.

    Args:
        parameters: those that are trained; the same ones in every process.
        send: starts the sum of a tensor over all processes; returns what to wait for.
    """

    def __init__(
        self, parameters: Sequence[nn.Parameter], send: Callable[[torch.Tensor], Any]
    ) -> None:
        self._sum = send
        self._buckets = _buckets(list(reversed(parameters)))
        self._armed = False
        self._sent = 0
        self._error: RuntimeError | None = None
        for bucket in self._buckets:
            for number, parameter in enumerate(bucket.parameters):
                parameter.register_post_accumulate_grad_hook(self._hook(bucket, number))

    def begin(self) -> None:
        """To be called before the last backward pass of a step."""
        self._armed = True
        self._sent = 0
        for bucket in self._buckets:
            bucket.lacking = set(range(len(bucket.parameters)))

    def finish(self) -> None:
        """Waits until every gradient is the mean over all processes.

        Raises:
            RuntimeError: another process is gone.
        """
        self._armed = False
        for bucket in self._buckets[self._sent :]:
            for number in list(bucket.lacking):  # this batch gave none, but those of others may
                self._take(bucket, number)
        self._send()
        if self._error is not None:
            raise self._error
        for bucket in self._buckets:
            bucket.work.wait()
            bucket.flat.div_(dist.get_world_size())
        self.forget()

    def forget(self) -> None:
        """Lets go of what is under way, which would hold the connection."""
        for bucket in self._buckets:
            bucket.work = None

    def _hook(self, bucket: _Bucket, number: int) -> Callable[[torch.Tensor], None]:
        def arrived(parameter: torch.Tensor) -> None:
            if self._armed:
                self._take(bucket, number)
                if not bucket.lacking:
                    self._send()

        return arrived

    def _take(self, bucket: _Bucket, number: int) -> None:
        parameter, place = bucket.parameters[number], bucket.places[number]
        if parameter.grad is None:
            place.zero_()
        else:
            place.copy_(parameter.grad)
        parameter.grad = place
        bucket.lacking.discard(number)

    def _send(self) -> None:
        while self._sent < len(self._buckets) and not self._buckets[self._sent].lacking:
            bucket = self._buckets[self._sent]
            self._sent += 1
            try:
                bucket.work = self._sum(bucket.flat)
            except RuntimeError as error:  # not out of the middle of the backward pass
                self._error = self._error or error


def _buckets(parameters: Sequence[nn.Parameter]) -> list[_Bucket]:
    parts: list[list[nn.Parameter]] = []
    size = 0
    for parameter in parameters:
        count = parameter.numel() * parameter.element_size()
        limit = _FIRST_BYTES if len(parts) <= 1 else _BYTES
        if not parts or parts[-1][0].dtype != parameter.dtype or size + count > limit:
            parts.append([])
            size = 0
        parts[-1].append(parameter)
        size += count
    return [_bucket(part) for part in parts]


def _bucket(parameters: list[nn.Parameter]) -> _Bucket:
    sizes = [parameter.numel() for parameter in parameters]
    flat = torch.zeros(sum(sizes), dtype=parameters[0].dtype, device=parameters[0].device)
    places = []
    for parameter, part in zip(parameters, flat.split(sizes), strict=True):
        dense = sorted(zip(parameter.stride(), parameter.shape, strict=True))
        places.append(
            part.as_strided(parameter.shape, parameter.stride(), part.storage_offset())
            if _fills_memory(dense)
            else part.view(parameter.shape)
        )
    return _Bucket(parameters, flat, places)


def _fills_memory(axes: list[tuple[int, int]]) -> bool:
    """Whether (stride, size) of axes, the nearest first, leave no gap and do not overlap."""
    expected = 1
    for stride, size in axes:
        if size == 1:
            continue
        if stride != expected:
            return False
        expected *= size
    return True
