"""What the first call of model_fn in a graph makes and the later calls share.

`tf.get_variable` shares by itself. Layers do not: those of Keras make variables of their own, and
those of `tf.layers` (and tf_slim) add the loss of a regularizer only when a variable is new to the
collections of the graph.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mox_tf.tf1 import VARIABLE, tf

__all__ = ["FirstCall"]


class FirstCall:
    """Remembers what the first call makes, and gives it to the later ones.

    In a later call the n-th variable of a name, numbers left aside, is the n-th of that name of the
    first: Keras counts on, from `dense` to `dense_1`.
    """

    def __init__(self) -> None:
        self._made: dict[int, Any] = {}
        self._by_stem: dict[str, list[Any]] = {}
        self._in_get_variable = 0

    def getter(self, getter: Any, *args: Any, **kwargs: Any) -> Any:
        """A custom getter for the first call."""
        with self.in_get_variable():
            return getter(*args, **kwargs)

    @contextmanager
    def in_get_variable(self) -> Iterator[None]:
        """Keeps what get_variable makes inside out of what is shared by its place."""
        self._in_get_variable += 1
        try:
            yield
        finally:
            self._in_get_variable -= 1

    @contextmanager
    def remembered(self, own: Callable[[Any], Any]) -> Iterator[Callable[[Any], Any]]:
        """Runs the first call. Yields what a custom getter has to ask for each variable.

        In the collections the call finds what it computes with.

        Args:
            own: variable -> what this call computes with in its place.
        """
        before = _variables_in_collections()
        taken: dict[int, Any] = {}

        def take(variable: Any) -> Any:
            mine = own(variable)
            if mine is not variable and id(mine) not in taken:
                taken[id(mine)] = variable
                _replace_in_collections({id(variable): mine})
            return mine

        def create(next_creator: Callable[..., Any], **kwargs: Any) -> Any:
            variable = next_creator(**kwargs)
            if not self._concerns(kwargs):
                return variable
            self._by_stem.setdefault(_stem(kwargs), []).append(variable)
            return take(variable)

        try:
            with tf.variable_creator_scope(create):
                yield take
        finally:
            _replace_in_collections(taken)
        after = _variables_in_collections()
        self._made = {key: one for key, one in after.items() if key not in before}

    @contextmanager
    def shared(self, scope: str, own: Callable[[Any], Any]) -> Iterator[Callable[[Any], Any]]:
        """Runs a later call. Yields what a custom getter has to ask for each variable.

        In the collections the call finds what the first call found: of the variables those that it
        has got so far, as what it computes with.

        Args:
            scope: name scope of this call of model_fn.
            own: variable -> what this call computes with in its place.
        """
        left = {name: list(variables) for name, variables in self._by_stem.items()}
        veil = _Veil(self._made)

        def take(variable: Any) -> Any:
            mine = own(variable)
            veil.show(variable, mine)
            return mine

        def create(next_creator: Callable[..., Any], **kwargs: Any) -> Any:
            if self._concerns(kwargs):
                waiting = left.get(_stem(kwargs, scope))
                if waiting and _fits(kwargs, waiting[0]):
                    return take(waiting.pop(0))
            return next_creator(**kwargs)

        try:
            with tf.variable_creator_scope(create):
                yield take
        finally:
            veil.lift()

    def _concerns(self, kwargs: dict[str, Any]) -> bool:
        collections = kwargs.get("collections")
        is_global = collections is None or tf.GraphKeys.GLOBAL_VARIABLES in collections
        return is_global and not self._in_get_variable


class _Veil:
    """Keeps variables out of the collections of the default graph until they are shown.

    Args:
        variables: id -> variable.
    """

    def __init__(self, variables: dict[int, Any]) -> None:
        self._graph = tf.get_default_graph()
        self._before: dict[Any, list[Any]] = {}
        self._keys_of: dict[int, list[Any]] = {}
        self._shown: set[int] = set()
        for key, items in _collections(self._graph):
            self._before[key] = list(items)
            for item in items:
                if id(item) in variables:
                    self._keys_of.setdefault(id(item), []).append(key)
            items[:] = [item for item in items if id(item) not in variables]

    def show(self, variable: Any, instead: Any) -> None:
        """Puts `instead` into all collections in which the variable, or its parts, stood."""
        parts = [(variable, instead)]
        if not isinstance(variable, VARIABLE):  # a partitioned one
            parts = [(part, part) for part in variable]
        for part, shown in parts:
            self._shown.add(id(shown))
            for key in self._keys_of.pop(id(part), ()):
                self._graph.get_collection_ref(key).append(shown)

    def lift(self) -> None:
        """Puts all back to where it stood, before what has been added since."""
        for key, items in _collections(self._graph):
            before = self._before.get(key, [])
            known = {id(item) for item in before} | self._shown
            items[:] = before + [item for item in items if id(item) not in known]


def _collections(graph: Any) -> list[tuple[Any, list[Any]]]:
    return [(key, graph.get_collection_ref(key)) for key in list(graph.collections)]


def _replace_in_collections(replacements: dict[int, Any]) -> None:
    if replacements:
        for _, items in _collections(tf.get_default_graph()):
            items[:] = [replacements.get(id(item), item) for item in items]


def _variables_in_collections() -> dict[int, Any]:
    return {
        id(item): item
        for _, items in _collections(tf.get_default_graph())
        for item in items
        if isinstance(item, VARIABLE)
    }


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
