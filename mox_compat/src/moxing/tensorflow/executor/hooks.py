"""Hooks."""

from __future__ import annotations

from moxing._forward import forward

__all__ = [
    "AggregativeSessionRunHook",
    "EarlyStoppingHook",
    "FeedSessionRunHook",
    "LogEvaluationMetricHook",
]
__getattr__, __dir__ = forward(__name__, "mox_tf", __all__)
