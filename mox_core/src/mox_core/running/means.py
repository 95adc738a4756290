"""Means of metrics over batches of unequal size."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["Means"]


class Means:
    """Sums up per-batch means, weighted by the number of samples.

    Batches of unknown size count as one sample each, which is right as long as all are unknown.
    """

    def __init__(self) -> None:
        self.batches = 0
        self.samples = 0
        self._sums: dict[str, float] = {}
        self._weight = 0

    def add(self, values: Mapping[str, float], samples: int | None) -> None:
        """Adds one batch: its means and how many samples they stand for."""
        weight = 1 if samples is None else samples
        self.batches += 1
        self.samples += samples or 0
        self._weight += weight
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value * weight

    def result(self) -> dict[str, float]:
        """Name -> mean, in the order of the first batch; empty when no sample was added."""
        if not self._weight:
            return {}
        return {name: total / self._weight for name, total in self._sums.items()}
