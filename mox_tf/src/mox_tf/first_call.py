"""What the first call of model_fn in a graph makes and the later calls share.

`tf.get_variable` shares by itself. Layers do not: those of Keras make variables of their own, and
those of `tf.layers` (and tf_slim) add the loss of a regularizer only when a variable is new.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mox_tf.tf1 import tf

__all__ = ["FirstCall"]


class FirstCall:
    """Remembers what the first call makes, and gives it to the later ones.

    In a later call the n-th variable of a name, numbers left aside, is the n-th of that name of the
    first: Keras counts on, from `dense` to `dense_1`.
    """

    def __init__(self) -> None:
        self._variables: dict[str, list[Any]] = {}
        self._losses: list[Any] = []
        self._losses_of_get_variable: set[int] = set()
        self._in_get_variable = 0

    def getter(self, getter: Any, *args: Any, **kwargs: Any) -> Any:
        """A custom getter for a first call."""
        with self.in_get_variable():
            return getter(*args, **kwargs)

    @contextmanager
    def in_get_variable(self) -> Iterator[None]:
        """Keeps what get_variable makes inside out of what is remembered."""
        before = len(_losses())
        self._in_get_variable += 1
        try:
            yield
        finally:
            self._in_get_variable -= 1
            self._losses_of_get_variable.update(id(loss) for loss in _losses()[before:])

    @contextmanager
    def remembered(self) -> Iterator[None]:
        """Runs the first call."""

        def create(next_creator: Callable[..., Any], **kwargs: Any) -> Any:
            variable = next_creator(**kwargs)
            if self._concerns(kwargs):
                self._variables.setdefault(_stem(kwargs), []).append(variable)
            return variable

        with tf.variable_creator_scope(create):
            yield
        # Layers name them so. What model_fn adds itself, it adds in every call.
        made_by_layers = [loss for loss in _losses() if "/Regularizer/" in loss.name]
        of_get_variable = self._losses_of_get_variable
        self._losses = [loss for loss in made_by_layers if id(loss) not in of_get_variable]

    @contextmanager
    def shared(self, scope: str, own: Callable[[Any], Any] | None) -> Iterator[None]:
        """Runs a later call.

        Args:
            scope: name scope of this call of model_fn.
            own: variable -> the copy that this call works with; None: the variable itself. Then
                the losses of its regularizers are those of the first call, too.
        """
        left = {name: list(variables) for name, variables in self._variables.items()}
        for loss in self._losses if own is None else ():
            tf.add_to_collection(tf.GraphKeys.REGULARIZATION_LOSSES, loss)

        def create(next_creator: Callable[..., Any], **kwargs: Any) -> Any:
            if self._concerns(kwargs):
                waiting = left.get(_stem(kwargs, scope))
                if waiting and _fits(kwargs, waiting[0]):
                    variable = waiting.pop(0)
                    return variable if own is None else own(variable)
            return next_creator(**kwargs)

        with tf.variable_creator_scope(create):
            yield

    def _concerns(self, kwargs: dict[str, Any]) -> bool:
        collections = kwargs.get("collections")
        is_global = collections is None or tf.GraphKeys.GLOBAL_VARIABLES in collections
        return is_global and not self._in_get_variable


def _losses() -> list[Any]:
    losses: list[Any] = tf.get_collection_ref(tf.GraphKeys.REGULARIZATION_LOSSES)
    return losses


def _stem(kwargs: dict[str, Any], scope: str = "") -> str:
    """`tower_1/dense_3/kernel` as `dense/kernel`."""
    path = f"{tf.get_default_graph().get_name_scope()}/{kwargs.get('name') or 'Variable'}"
    path = path.removeprefix(f"{scope}/") if scope else path
    return "/".join(re.sub(r"_\d+$", "", part) for part in path.split("/") if part)


def _fits(kwargs: dict[str, Any], variable: Any) -> bool:
    shape, initial = kwargs.get("shape"), kwargs.get("initial_value")
    if shape is None and tf.is_tensor(initial):
        shape = initial.shape
    return shape is None or variable.shape.is_compatible_with(shape)
