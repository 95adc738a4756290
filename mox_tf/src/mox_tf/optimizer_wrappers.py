"""Optimizers around optimizers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from mox_core.errors import EngineError, SpecError
from mox_core.flags import get_flag
from mox_core.plugins.suggest import did_you_mean
from mox_core.wording import a_type
from mox_tf.tf1 import tf

__all__ = ["BatchGradientsOptimizer", "LarsOptimizer", "get_optimizer_wrapper_fn"]


class _Wrapper(tf.train.Optimizer):  # type: ignore[misc]
    """Computes gradients as the optimizer inside does."""

    def __init__(self, optimizer: Any, name: str) -> None:
        super().__init__(use_locking=False, name=name)
        self._optimizer = optimizer

    def compute_gradients(self, *args: Any, **kwargs: Any) -> list[tuple[Any, Any]]:
        """See `tf.train.Optimizer`."""
        pairs: list[tuple[Any, Any]] = self._optimizer.compute_gradients(*args, **kwargs)
        return pairs


class LarsOptimizer(_Wrapper):
    """Layer-wise adaptive rate scaling (You, Gitman, Ginsburg: arXiv 1708.03888).

    The gradient g of each variable w becomes r (g + d w), with
    r = ratio ||w|| / (||g|| + d ||w||), before the optimizer inside sees it. Variables of fewer
    than two dimensions (biases, scales of batch norm) keep theirs.

    Args:
        optimizer: gets the scaled gradients.
        ratio: how far one step may move a variable, relative to its norm, at learning rate 1.
        weight_decay: d.
    """

    def __init__(self, optimizer: Any, *, ratio: float = 0.001, weight_decay: float = 0.0) -> None:
        super().__init__(optimizer, "lars")
        self._ratio = ratio
        self._weight_decay = weight_decay

    def apply_gradients(
        self, grads_and_vars: Sequence[tuple[Any, Any]], global_step: Any = None, name: Any = None
    ) -> Any:
        """See `tf.train.Optimizer`."""
        pairs = [(self._scaled(gradient, v), v) for gradient, v in grads_and_vars]
        return self._optimizer.apply_gradients(pairs, global_step, name)

    def _scaled(self, gradient: Any, variable: Any) -> Any:
        if gradient is None or variable.shape.rank < 2:
            return gradient
        with tf.name_scope("lars"):
            weights = tf.cast(variable.read_value(), tf.float32)
            dense = tf.cast(tf.convert_to_tensor(gradient), tf.float32)
            decay = self._weight_decay * tf.norm(weights)
            norms = tf.norm(weights), tf.norm(dense) + decay
            # A variable that is all zero could never leave it.
            usable = tf.logical_and(norms[0] > 0, norms[1] > 0)
            rate = tf.where(
                usable, self._ratio * tf.math.divide_no_nan(*norms), tf.ones_like(norms[0])
            )
            return tf.cast(rate * (dense + self._weight_decay * weights), gradient.dtype)


class BatchGradientsOptimizer(_Wrapper):
    """Applies the mean of the gradients of several steps, as one step of a larger batch.

    Every step counts as a global step. The sums are kept in checkpoints.

    Args:
        optimizer: applies the means.
        num_batches: steps per update.
        sync_on_apply: accepted for scripts of MoXing; workers of a cluster have to be synchronous
            anyway.

    Raises:
        EngineError: there are several workers that are not synchronous.
    """

    def __init__(self, optimizer: Any, *, num_batches: int, sync_on_apply: bool = True) -> None:
        super().__init__(optimizer, "batch_gradients")
        if not isinstance(num_batches, int) or num_batches < 1:
            raise SpecError(f"num_batches is {num_batches!r}; it has to be an integer, 1 or more.")
        if "," in get_flag("worker_hosts") and not get_flag("sync_replicas"):
            raise EngineError(
                "optimizer wrapper 'batch_gradients' would mix the sums of workers that run at "
                "different speeds.\n  Use --sync_replicas."
            )
        self._num_batches = num_batches

    def apply_gradients(
        self, grads_and_vars: Sequence[tuple[Any, Any]], global_step: Any = None, name: Any = None
    ) -> Any:
        """See `tf.train.Optimizer`."""
        pairs = [(gradient, v) for gradient, v in grads_and_vars if gradient is not None]
        variables = [variable for _, variable in pairs]
        with tf.init_scope():  # not inside of a tf.cond that this may be called in
            sums = [self._zeros_slot(variable, "sum", self._name) for variable in variables]
            count = tf.Variable(
                0, trainable=False, name=f"{self._name}/count", dtype=tf.int64, use_resource=True
            )
        added = [
            total.assign_add(tf.convert_to_tensor(gradient), read_value=False)
            for total, (gradient, _) in zip(sums, pairs, strict=True)
        ]
        with tf.control_dependencies(added):
            batches = count.assign_add(1)

        scope = tf.get_default_graph().get_name_scope()

        def apply() -> Any:
            means = [total.read_value() / self._num_batches for total in sums]
            # The tf.cond's name scope would stand in the names of the state of the optimizer.
            with tf.control_dependencies(means), tf.name_scope(f"{scope}/" if scope else None):
                applied = self._optimizer.apply_gradients(
                    list(zip(means, variables, strict=True)), None
                )
            with tf.control_dependencies([applied]):
                cleared = [s.assign(tf.zeros_like(s), read_value=False) for s in [*sums, count]]
            with tf.control_dependencies(cleared):
                return tf.constant(True)

        done = tf.cond(batches >= self._num_batches, apply, lambda: tf.constant(False))
        if global_step is None:
            return tf.group(done, name=name)
        with tf.control_dependencies([done]):
            return global_step.assign_add(1, read_value=False, name=name)


_WRAPPERS: dict[str, Callable[..., Any]] = {
    "batch_gradients": BatchGradientsOptimizer,
    "lars": LarsOptimizer,
}


def get_optimizer_wrapper_fn(name: str, optimizer: Any, **kwargs: Any) -> Callable[[], Any]:
    """Returns a function that wraps an optimizer; the result can be wrapped again.

        def optimizer_fn():
            optimizer = mox.get_optimizer_fn("momentum", learning_rate=0.1)()
            optimizer = mox.get_optimizer_wrapper_fn("lars", optimizer, ratio=0.001)()
            return mox.get_optimizer_wrapper_fn("batch_gradients", optimizer, num_batches=8)()

    Args:
        name: batch_gradients or lars.
        optimizer: what is wrapped.
        **kwargs: the arguments of `BatchGradientsOptimizer` or `LarsOptimizer`.

    Raises:
        SpecError: there is no such wrapper, or it has no such argument; a ValueError too.
    """
    if name not in _WRAPPERS:
        raise SpecError(
            f"there is no optimizer wrapper {name!r}; use {' or '.join(_WRAPPERS)}."
            f"{did_you_mean(name, _WRAPPERS)}"
        )
    if not hasattr(optimizer, "apply_gradients"):
        raise SpecError(
            f"optimizer wrapper {name!r} got {a_type(optimizer)}; it wraps an optimizer, "
            "such as mox.get_optimizer_fn('sgd', 0.1)()."
        )
    wrapper = _WRAPPERS[name]
    try:
        inspect.signature(wrapper).bind(optimizer, **kwargs)
    except TypeError as error:
        known = [one for one in inspect.signature(wrapper).parameters if one != "optimizer"]
        raise SpecError(
            f"optimizer wrapper {name!r}: {error}.\n  It has these: {', '.join(known)}."
        ) from error
    return lambda: wrapper(optimizer, **kwargs)
