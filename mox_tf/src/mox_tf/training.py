"""The update of the variables: gradients of all losses and towers, then the optimizers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mox_core.errors import SpecError
from mox_core.spec import ModelSpec
from mox_tf.cluster.exchange import GradientExchange
from mox_tf.devices import Placement
from mox_tf.tf1 import tf
from mox_tf.towers import Tower
from mox_tf.user_functions import call_user_function

__all__ = ["build_update"]

_Gradients = list[tuple[Any, Any]]


def build_update(
    towers: Sequence[Tower],
    optimizer_fns: Sequence[Callable[[], Any]],
    global_step: Any,
    *,
    placement: Placement,
    loss_scale: float = 1.0,
    exchange: GradientExchange | None = None,
) -> Any:
    """Builds the operation that does one training step.

    Gradients are means over the towers. All are computed before any variable changes, and the
    update operations of the first tower run before them too. The first optimizer counts the
    global step, last of all, so that every learning rate sees the same number.

    Args:
        towers: the model.
        optimizer_fns: one for all losses, or one per loss.
        global_step: the variable.
        placement: the devices of the towers.
        loss_scale: factor of the losses while gradients are computed.
        exchange: with other processes.

    Raises:
        SpecError: a loss trains no variable, or optimizer_fn does not fit.
    """
    spec = towers[0].spec
    optimizers = _make_optimizers(optimizer_fns, spec)
    per_loss = [
        _mean_gradients(towers, index, optimizer, placement, loss_scale)
        for index, optimizer in enumerate(optimizers)
    ]
    update_ops = towers[0].update_ops
    if exchange is not None:
        per_loss = [exchange.share(pairs) for pairs in per_loss]
        update_ops = []
    before = [gradient for pairs in per_loss for gradient, _ in pairs] + update_ops
    update = None
    for index in reversed(range(len(optimizers))):
        with placement.parameter_scope(), tf.control_dependencies(before):
            update = call_user_function(
                optimizers[index].apply_gradients, per_loss[index], None if index else global_step
            )
        before = [*before, update]
    return exchange.finish(update, towers[0].update_ops) if exchange is not None else update


def _make_optimizers(optimizer_fns: Sequence[Callable[[], Any]], spec: ModelSpec) -> list[Any]:
    losses = spec.losses
    functions = list(optimizer_fns)
    if len(functions) not in (1, len(losses)):
        raise SpecError(
            f"optimizer_fn is a list of {len(functions)}, but ModelSpec.loss has {len(losses)}.\n"
            "  Give one optimizer_fn for all losses, or one for each."
        )
    if len(functions) == 1:
        functions *= len(losses)
    optimizers = [call_user_function(function) for function in functions]
    for optimizer in optimizers:
        if not hasattr(optimizer, "compute_gradients") or not hasattr(optimizer, "apply_gradients"):
            raise SpecError(
                f"optimizer_fn returned a {type(optimizer).__name__}; it has to return a "
                "tf.compat.v1.train.Optimizer, such as mox.get_optimizer_fn('sgd', 0.1)()."
            )
    return optimizers


def _mean_gradients(
    towers: Sequence[Tower],
    loss_index: int,
    optimizer: Any,
    placement: Placement,
    loss_scale: float,
) -> _Gradients:
    spec = towers[0].spec
    name, scopes = spec.loss_names()[loss_index], spec.scopes_of(loss_index)
    variables = _variables_in(scopes)
    if not variables:
        raise SpecError(f"{name}: no trainable variable{_within(scopes)}.\n  {_trainable_names()}")
    per_tower: list[_Gradients] = []
    for index, tower in enumerate(towers):
        with placement.tower_scope(index), tf.name_scope(f"gradients_{index}"):
            loss = tower.spec.losses[loss_index]
            if not loss.dtype.is_floating:
                raise SpecError(
                    f"{name} has dtype {loss.dtype.name}; a loss has to be floating point."
                )
            scaled = loss if loss_scale == 1.0 else loss * tf.cast(loss_scale, loss.dtype)
            per_tower.append(optimizer.compute_gradients(scaled, var_list=variables))
    means = []
    with placement.parameter_scope(), tf.name_scope("mean_gradients"):
        for pairs in zip(*per_tower, strict=True):
            gradients = [gradient for gradient, _ in pairs if gradient is not None]
            if gradients:
                means.append((_mean(gradients, len(towers) * loss_scale), pairs[0][1]))
    if not means:
        raise SpecError(
            f"{name} does not depend on any trainable variable{_within(scopes)}.\n"
            "  Check ModelSpec.loss and ModelSpec.var_scopes."
        )
    return means


def _variables_in(scopes: list[str] | None) -> list[Any]:
    variables: list[Any] = tf.trainable_variables()
    if scopes is None:
        return variables
    prefixes = tuple(scope.rstrip("/") + "/" for scope in scopes)
    return [v for v in variables if f"{v.op.name}/".startswith(prefixes)]


def _mean(gradients: list[Any], divisor: float) -> Any:
    """The sum over `divisor`, sparse where all gradients are."""
    if len(gradients) == 1:
        total = gradients[0]
    elif all(isinstance(gradient, tf.IndexedSlices) for gradient in gradients):
        total = tf.IndexedSlices(
            tf.concat([gradient.values for gradient in gradients], axis=0),
            tf.concat([gradient.indices for gradient in gradients], axis=0),
            gradients[0].dense_shape,
        )
    else:
        total = tf.add_n([tf.convert_to_tensor(gradient) for gradient in gradients])
    if divisor == 1.0:
        return total
    if isinstance(total, tf.IndexedSlices):
        return tf.IndexedSlices(total.values / divisor, total.indices, total.dense_shape)
    return total / tf.cast(divisor, total.dtype)


def _within(scopes: list[str] | None) -> str:
    return "" if scopes is None else f" in the scopes {', '.join(scopes)}"


def _trainable_names() -> str:
    names = [variable.op.name for variable in tf.trainable_variables()]
    if not names:
        return "The model makes none; use tf.get_variable."
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"The model's are {', '.join(names[:5])}{more}; see ModelSpec.var_scopes."
