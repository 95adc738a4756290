"""AverageMeter: a value, and its mean over all updates."""

from __future__ import annotations

__all__ = ["AverageMeter"]


class AverageMeter:
    """Keeps a value and its mean, for loops that print both.

    Attributes:
        val: the last value.
        sum: of all values, each times its `n`.
        count: sum of all `n`.
        avg: `sum / count`.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begins anew."""
        self.val = self.avg = self.sum = 0.0
        self.count = 0

    def update(self, val: float, n: int = 1) -> None:
        """Adds a value that stands for `n` samples."""
        self.val = val
        self.sum += val * n
        self.count += n
        self.avg = self.sum / self.count if self.count else 0.0
