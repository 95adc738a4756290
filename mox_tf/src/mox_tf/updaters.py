"""The optimizers of one set of variables: those that all towers share, or one tower's copies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mox_core.errors import SpecError
from mox_core.optim import OptimizerSpec
from mox_core.spec import ModelSpec
from mox_core.wording import a_type
from mox_tf.devices import Placement
from mox_tf.optimizers import make_optimizer
from mox_tf.tf1 import tf
from mox_tf.towers import Tower
from mox_tf.user_functions import call_user_function

__all__ = ["Updater", "make_updaters"]

_Pairs = list[tuple[Any, Any]]


class Updater:
    """Updates one set of variables.

    Args:
        placement: the devices.
        tower: the place of `tower` among the towers whose copies these are; None: they are the
            variables that all towers share.
        model: that tower, or the first one.
    """

    def __init__(self, placement: Placement, tower: int | None, model: Tower) -> None:
        self._placement = placement
        self._tower = tower
        self._model = model
        self.optimizers: list[Any] = []

    def make_optimizers(self, functions: Sequence[Callable[[], Any]], spec: ModelSpec) -> None:
        """Calls the user's functions.

        Raises:
            SpecError: there are not as many as losses, or they return something else.
        """
        with self.scope():
            self.optimizers = _make_optimizers(functions, spec)

    def apply(self, per_loss: Sequence[_Pairs], before: Sequence[Any], global_step: Any) -> Any:
        """The operation that applies the gradients of all losses, the first loss's last.

        Args:
            per_loss: for each loss gradients and the variables (not copies) that they belong to.
            before: what has to be done first.
            global_step: counted with the last of the updates; None: not at all.
        """
        update = None
        for index in reversed(range(len(per_loss))):
            pairs = [
                (gradient, variable)
                for gradient, variable in map(self._own, per_loss[index])
                if variable is not None
            ]
            with self.scope(), tf.control_dependencies(before):
                update = call_user_function(
                    self.optimizers[index].apply_gradients, pairs, None if index else global_step
                )
            before = [*before, update]
        return update

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Where the optimizers are made and used.

        The variables that they make for a tower other than the first become that tower's copies of
        what they made for the first.
        """
        if self._tower is None:
            with self._placement.parameter_scope():
                yield
            return
        copies = self._model.copies
        if copies is None:
            with self._placement.tower_scope(self._tower):
                yield
            return
        originals = tf.global_variables()
        summaries = tf.get_collection_ref(tf.GraphKeys.SUMMARIES)
        count = len(summaries)
        with (
            self._placement.tower_scope(self._tower),
            tf.name_scope(copies.scope),
            tf.variable_scope(
                tf.get_variable_scope(), reuse=tf.AUTO_REUSE, auxiliary_name_scope=False
            ),
        ):
            yield
        del summaries[count:]
        known = {id(variable) for variable in originals}
        made = [variable for variable in tf.global_variables() if id(variable) not in known]
        copies.adopt_state(made, originals)

    def _own(self, pair: tuple[Any, Any]) -> tuple[Any, Any]:
        """The pair with this updater's variable: None for one that the first tower's updates."""
        gradient, variable = pair
        if self._tower is None:
            return pair
        own = self._model.own(variable)
        return gradient, None if self._model.copies is not None and own is variable else own


def make_updaters(
    towers: Sequence[Tower],
    functions: Sequence[Callable[[], Any]],
    placement: Placement,
) -> list[Updater]:
    """One updater for all towers, or one for each where each has variables of its own.

    Raises:
        SpecError: a function does not return an optimizer, or not a new one in each call.
    """
    if placement.replicated:
        updaters = [Updater(placement, index, tower) for index, tower in enumerate(towers)]
    else:
        updaters = [Updater(placement, None, towers[0])]
    seen: set[int] = set()
    for updater in updaters:
        updater.make_optimizers(functions, towers[0].spec)
        own = {id(optimizer) for optimizer in updater.optimizers}
        if own & seen:
            raise SpecError(
                "optimizer_fn returned the same optimizer again, but with --variable_update "
                "replicated each tower needs its own.\n  Make it inside of optimizer_fn."
            )
        seen |= own
    return updaters


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
    optimizers = []
    for index, function in enumerate(functions):
        optimizer = call_user_function(function)
        if isinstance(optimizer, OptimizerSpec):
            optimizer = make_optimizer(optimizer.for_loss(index))
        if not hasattr(optimizer, "compute_gradients") or not hasattr(optimizer, "apply_gradients"):
            raise SpecError(
                f"optimizer_fn returned {a_type(optimizer)}; it has to return a "
                "tf.compat.v1.train.Optimizer, such as mox.get_optimizer_fn('sgd', 0.1)()."
            )
        optimizers.append(optimizer)
    return optimizers
