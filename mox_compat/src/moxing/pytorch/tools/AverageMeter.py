"""A value and its mean over the steps so far."""

from __future__ import annotations

from mox_torch.average_meter import AverageMeter

__all__ = ["AverageMeter"]
