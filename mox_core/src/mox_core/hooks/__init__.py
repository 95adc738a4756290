"""Run hooks: what watches a run. `RunHook` is the base for hooks of the user's own."""

from mox_core.hooks.base import RunHook
from mox_core.hooks.evaluation import EarlyStoppingHook, LogEvaluationMetricHook

__all__ = ["EarlyStoppingHook", "LogEvaluationMetricHook", "RunHook"]
