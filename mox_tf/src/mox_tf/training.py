"""The update of the variables: gradients of all losses and towers, then the optimizers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from mox_core.errors import EngineError, SpecError
from mox_tf.all_reduce import all_reduce_mean, mean
from mox_tf.cluster.exchange import GradientExchange
from mox_tf.copies import refresh_operation
from mox_tf.devices import Placement
from mox_tf.loss_scale import DynamicLossScale
from mox_tf.tf1 import tf
from mox_tf.towers import Tower
from mox_tf.update_rules import UpdateRules
from mox_tf.updaters import Updater, make_updaters

__all__ = ["build_update"]

_Pairs = list[tuple[Any, Any]]


def build_update(
    towers: Sequence[Tower],
    optimizer_fns: Sequence[Callable[[], Any]],
    global_step: Any,
    *,
    placement: Placement,
    rules: UpdateRules,
    exchange: GradientExchange | None = None,
) -> Any:
    """Builds the operation that does one training step.

    Gradients are means over the towers. All are computed before any variable changes, and the
    update operations of the first tower run before them too. The global step is counted last of
    all, so that every learning rate sees the same number.

    Args:
        towers: the model.
        optimizer_fns: one for all losses, or one per loss.
        global_step: the variable.
        placement: the devices of the towers, and whose variables they update.
        rules: what happens to losses and gradients.
        exchange: with other processes.

    Raises:
        SpecError: a loss trains no variable, or optimizer_fn does not fit.
        EngineError: the model or the optimizer cannot work with copies of variables.
    """
    _check_update_ops(towers)
    updaters = make_updaters(towers, optimizer_fns, placement)
    scale = DynamicLossScale() if rules.loss_scale is None else None
    factor = rules.loss_scale if scale is None else scale.value
    losses = range(len(towers[0].spec.losses))
    means = [_mean_gradients(towers, index, updaters, placement, rules, factor) for index in losses]
    own_update_ops = towers[0].update_ops
    # The exchange may let another process apply the gradients; these belong to this one.
    update_ops = own_update_ops if exchange is None else []
    if exchange is not None:  # its variables are shared: one list per loss
        shared = exchange.share([per_tower[0] for per_tower in means], own_update_ops)
        means = [[pairs] for pairs in shared]
    gradients = [gradient for per_tower in means for gradient, _ in per_tower[0]]
    with exchange.gradient_scope() if exchange is not None else nullcontext():
        clipped = [[_clipped(pairs, rules) for pairs in per_tower] for per_tower in means]
    if exchange is not None:
        delivered = exchange.deliver([per_tower[0] for per_tower in clipped])
        clipped = [[pairs] for pairs in delivered]

    def apply() -> Any:
        with tf.name_scope(None):  # a tf.cond's would stand in the names of the optimizer's state
            return _apply(updaters, clipped, update_ops, global_step, wait=exchange is None)

    if scale is None:
        with exchange.update_scope() if exchange is not None else nullcontext():
            update = apply()
    else:
        finite = scale.all_finite(gradients)
        applied = tf.cond(finite, lambda: _done(apply()), lambda: _done(tf.no_op()))
        with tf.control_dependencies([applied]):
            update = tf.group(scale.adapt(finite), *update_ops)
    if exchange is not None:
        update = exchange.finish(update)
    if placement.variable_update == "distributed_replicated":
        with tf.control_dependencies([update]):
            refreshed = refresh_operation([tower.copies for tower in towers]) or tf.no_op()
        with tf.control_dependencies([refreshed]):
            update = tf.identity(update) if tf.is_tensor(update) else refreshed
    return update


def _apply(
    updaters: Sequence[Updater],
    per_loss: Sequence[Sequence[_Pairs]],
    update_ops: Sequence[Any],
    global_step: Any,
    *,
    wait: bool,
) -> Any:
    """Applies the gradients; with `wait` none of them before all are there."""
    updates = []
    for index, updater in enumerate(updaters):
        own = [per_tower[min(index, len(per_tower) - 1)] for per_tower in per_loss]
        gradients = [gradient for pairs in own for gradient, _ in pairs] if wait else []
        before = [*gradients, *update_ops]
        # Towers that read the step while one counts it would go on with different learning rates.
        step = global_step if len(updaters) == 1 else None
        updates.append(updater.apply(own, before, step))
    if len(updates) == 1:
        return updates[0]
    with tf.control_dependencies(updates):
        return global_step.assign_add(1, read_value=False)


def _mean_gradients(
    towers: Sequence[Tower],
    loss_index: int,
    updaters: Sequence[Updater],
    placement: Placement,
    rules: UpdateRules,
    factor: Any,
) -> list[_Pairs]:
    """Gradients of one loss and their variables: one list for all towers, or one for each."""
    spec = towers[0].spec
    name, scopes = spec.loss_names()[loss_index], spec.scopes_of(loss_index)
    variables = _variables(name, scopes, rules)
    per_tower = []
    for index, tower in enumerate(towers):
        with placement.tower_scope(index), tf.name_scope(f"gradients_{index}"):
            loss = tower.spec.losses[loss_index]
            if not loss.dtype.is_floating:
                raise SpecError(
                    f"{name} has dtype {loss.dtype.name}; a loss has to be floating point."
                )
            scaled = loss if _is_one(factor) else loss * tf.cast(factor, loss.dtype)
            optimizer = updaters[min(index, len(updaters) - 1)].optimizers[loss_index]
            own = [tower.own(variable) for variable in variables]
            pairs = optimizer.compute_gradients(scaled, var_list=own)
            found = {id(variable): gradient for gradient, variable in pairs}
            per_tower.append([found.get(id(variable)) for variable in own])
    if all(gradient is None for gradients in per_tower for gradient in gradients):
        raise SpecError(
            f"{name} does not depend on any trainable variable{_within(scopes)}.\n"
            "  Check ModelSpec.loss and ModelSpec.var_scopes."
        )
    divisor = len(towers) * factor
    if placement.replicated:
        with tf.name_scope("all_reduce"):
            means = all_reduce_mean(per_tower, divisor, placement)
    else:
        with placement.parameter_scope(), tf.name_scope("mean_gradients"):
            means = [[mean(gradients, divisor) for gradients in zip(*per_tower, strict=True)]]
    return [
        [(gradient, v) for gradient, v in zip(one, variables, strict=True) if gradient is not None]
        for one in means
    ]


def _clipped(pairs: _Pairs, rules: UpdateRules) -> _Pairs:
    gradients = rules.clipped([gradient for gradient, _ in pairs])
    return list(zip(gradients, [variable for _, variable in pairs], strict=True))


def _variables(name: str, scopes: list[str] | None, rules: UpdateRules) -> list[Any]:
    """The variables that a loss trains."""
    in_scopes: list[Any] = tf.trainable_variables()
    if scopes is not None:
        prefixes = tuple(scope.rstrip("/") + "/" for scope in scopes)
        in_scopes = [v for v in in_scopes if f"{v.op.name}/".startswith(prefixes)]
    if not in_scopes:
        raise SpecError(f"{name}: no trainable variable{_within(scopes)}.\n  {_trainable_names()}")
    trained = [variable for variable in in_scopes if rules.trains(variable.op.name)]
    if not trained:
        raise SpecError(
            f"{name}: --trainable_include_patterns and --trainable_exclude_patterns leave no "
            f"variable to train{_within(scopes)}.\n  {_trainable_names()}"
        )
    return trained


def _check_update_ops(towers: Sequence[Tower]) -> None:
    """The update operations of one tower run, so they must not set what every tower has.

    Raises:
        EngineError: one does.
    """
    handles = {
        id(one.handle): variable
        for tower in towers
        if tower.copies is not None
        for variable, copy in tower.copies.pairs
        for one in (variable, copy)
    }
    ahead, seen = [getattr(op, "op", op) for op in towers[0].update_ops], set()
    while handles and ahead:
        op = ahead.pop()
        if op in seen:
            continue
        seen.add(op)
        if "Assign" in op.type or op.type.startswith("ResourceScatter"):
            variable = handles.get(id(op.inputs[0]))
            if variable is not None:
                raise EngineError(
                    f"an operation in UPDATE_OPS sets {variable.op.name!r}, a trained variable of "
                    "which each tower has a copy.\n  Use --variable_update parameter_server."
                )
        ahead += [tensor.op for tensor in op.inputs] + list(op.control_inputs)


def _done(operation: Any) -> Any:
    with tf.control_dependencies([operation]):
        return tf.constant(True)


def _is_one(factor: Any) -> bool:
    return isinstance(factor, float) and factor == 1.0


def _within(scopes: list[str] | None) -> str:
    return "" if scopes is None else f" in the scopes {', '.join(scopes)}"


def _trainable_names() -> str:
    names = [variable.op.name for variable in tf.trainable_variables()]
    if not names:
        return "The model makes none; use tf.get_variable."
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"The model's are {', '.join(names[:5])}{more}; see ModelSpec.var_scopes."
