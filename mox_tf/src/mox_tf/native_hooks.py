"""TensorFlow's own session hooks: which of them run, and how a step is run with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mox_core.errors import SpecError
from mox_core.wording import a_type
from mox_tf.tf1 import tf

__all__ = ["AggregativeSessionRunHook", "FeedSessionRunHook", "HookRunner", "chosen_hooks"]


class AggregativeSessionRunHook(tf.train.SessionRunHook):  # type: ignore[misc]
    """A session hook that says how it behaves with several towers (manual 004, ModelSpec)."""

    def support_aggregation(self) -> bool:
        """True when one instance serves all towers: only that of the first tower runs."""
        return False

    def support_sync_workers(self) -> bool:
        """True when all workers have to call the hook in the same step."""
        return False

    def run_inter_mode(self) -> bool:
        """True when the hook runs in the steps of the inter mode, too."""
        return False


class FeedSessionRunHook(AggregativeSessionRunHook):
    """Feeds placeholders that model_fn made, with the same values in every step.

    Args:
        feed_dict: tensor -> value.
    """

    def __init__(self, feed_dict: Mapping[Any, Any]) -> None:
        super().__init__()
        self.feed_dict = dict(feed_dict)

    def before_run(self, run_context: Any) -> Any:
        """Feeds them."""
        return tf.train.SessionRunArgs(fetches=None, feed_dict=self.feed_dict)


def chosen_hooks(per_tower: Sequence[Sequence[Any]]) -> list[Any]:
    """The hooks that run, given those that each call of model_fn returned."""
    chosen: list[Any] = []
    for index, hooks in enumerate(per_tower):
        for hook in hooks:
            once = isinstance(hook, AggregativeSessionRunHook) and hook.support_aggregation()
            if not (once and index) and hook not in chosen:
                chosen.append(hook)
    return chosen


class HookRunner:
    """Runs steps in the presence of session hooks.

    Args:
        hooks: called in order.
        session: given to them.
        coordinator: given to them.
    """

    def __init__(self, hooks: Sequence[Any], session: Any, coordinator: Any) -> None:
        self._hooks = hooks
        self._session = session
        with session.graph.as_default():
            for hook in hooks:
                hook.after_create_session(session, coordinator)

    def run(self, fetches: list[Any], run_alone: Callable[[], list[Any]]) -> tuple[list[Any], bool]:
        """Runs one step.

        Args:
            fetches: what the step is asked for besides what the hooks want.
            run_alone: runs a step with just these, faster.

        Returns:
            The fetched values, and whether a hook asked to stop.
        """
        with self._session.graph.as_default():
            return self._run(fetches, run_alone)

    def _run(
        self, fetches: list[Any], run_alone: Callable[[], list[Any]]
    ) -> tuple[list[Any], bool]:
        context = tf.train.SessionRunContext(tf.train.SessionRunArgs(fetches, None), self._session)
        asked: dict[int, Any] = {}
        feeds: dict[Any, Any] = {}
        options = tf.RunOptions()
        for index, hook in enumerate(self._hooks):
            request = hook.before_run(context)
            if request is None:
                continue
            if request.fetches is not None:
                asked[index] = request.fetches
            self._merge_feeds(feeds, request.feed_dict or {}, hook)
            if request.options is not None:
                _merge_options(options, request.options)
        metadata = tf.RunMetadata()
        if asked or feeds or options.ByteSize():
            values, wanted = self._session.run(
                [fetches, asked], feed_dict=feeds, options=options, run_metadata=metadata
            )
        else:
            values, wanted = run_alone(), {}
        for index, hook in enumerate(self._hooks):
            hook.after_run(
                context,
                tf.train.SessionRunValues(
                    results=wanted.get(index), options=options, run_metadata=metadata
                ),
            )
        return values, context.stop_requested

    def end(self) -> None:
        """Tells the hooks that the run came to its end without an error."""
        with self._session.graph.as_default():
            for hook in self._hooks:
                hook.end(self._session)

    @staticmethod
    def _merge_feeds(feeds: dict[Any, Any], more: dict[Any, Any], hook: Any) -> None:
        for tensor, value in more.items():
            if tensor in feeds:
                raise SpecError(
                    f"two hooks feed {tensor.name!r}; the second is {a_type(hook)}.\n"
                    "  Let one of them feed it."
                )
            feeds[tensor] = value


def _merge_options(options: Any, more: Any) -> None:
    """Takes what is set in `more`; of two trace levels the higher one."""
    level = max(options.trace_level, more.trace_level)
    options.MergeFrom(more)
    options.trace_level = level
