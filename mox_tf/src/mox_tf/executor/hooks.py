"""Session hooks."""

from __future__ import annotations

from mox_tf.native_hooks import AggregativeSessionRunHook, FeedSessionRunHook

__all__ = ["AggregativeSessionRunHook", "FeedSessionRunHook"]
