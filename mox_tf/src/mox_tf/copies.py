"""Copies of the trained variables, a set for each tower that does not share them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mox_core.errors import EngineError
from mox_tf.tf1 import VARIABLE, slice_of, tf

__all__ = ["TowerCopies", "refresh_operation"]


class TowerCopies:
    """What one tower has of its own: copies of the variables that are trained.

    Variables that are not trained exist once, for all towers; so do partitioned ones. Copies are in
    no collection of the graph.

    Args:
        index: of the tower.
        device: where the copies live.
    """

    def __init__(self, index: int, device: str | None) -> None:
        self.scope = f"replica_{index}/"
        self._device = device
        self._pairs: list[tuple[Any, Any]] = []
        self._copy_of: dict[int, Any] = {}

    @property
    def pairs(self) -> Sequence[tuple[Any, Any]]:
        """Each variable with its copy, those of the optimizer too."""
        return self._pairs

    def of(self, variable: Any) -> Any:
        """The tower's copy, or the variable itself when it has none."""
        return self._copy_of.get(id(variable), variable)

    def add(self, variable: Any) -> Any:
        """The tower's copy, made now if it has none; the variable itself when it is shared.

        Raises:
            EngineError: it is a reference variable.
        """
        copied = (
            isinstance(variable, VARIABLE) and variable.trainable and slice_of(variable) is None
        )
        if copied and id(variable) not in self._copy_of:
            _refuse_reference(variable)
            with tf.init_scope(), tf.name_scope(self.scope), tf.device(self._device):
                copy = tf.Variable(
                    # The value comes with the first refresh.
                    lambda: tf.zeros(variable.shape, variable.dtype.base_dtype),
                    name=variable.op.name,
                    trainable=False,  # else it is put into a collection
                    collections=[],
                    constraint=variable.constraint,
                    use_resource=True,
                )
            self._pair(variable, copy)
        return self.of(variable)

    def adopt_state(self, state: Sequence[Any], originals: Sequence[Any]) -> None:
        """Takes what the tower's optimizer made, as copies of what the first tower's made.

        Args:
            state: variables; they leave the graph's collections.
            originals: among which their counterparts are, by name.

        Raises:
            EngineError: a variable has no counterpart.
        """
        by_name = {variable.op.name: variable for variable in originals}
        for copy in state:
            original = by_name.get(copy.op.name.removeprefix(self.scope))
            if original is None or not copy.op.name.startswith(self.scope):
                raise EngineError(
                    f"the optimizer makes a variable {copy.op.name!r} of which towers cannot have "
                    "copies.\n  Use --variable_update parameter_server."
                )
            self._pair(original, copy)
        graph, ids = tf.get_default_graph(), {id(variable) for variable in state}
        for key in list(graph.collections):
            items = graph.get_collection_ref(key)
            items[:] = [item for item in items if id(item) not in ids]

    def _pair(self, variable: Any, copy: Any) -> None:
        self._pairs.append((variable, copy))
        self._copy_of[id(variable)] = copy


def refresh_operation(copies: Sequence[TowerCopies | None]) -> Any:
    """The operation that makes all copies equal to their variables; None without copies."""
    values: dict[int, Any] = {}
    assignments = []
    with tf.name_scope("refresh_copies"):
        for variable, copy in (pair for one in copies if one for pair in one.pairs):
            if id(variable) not in values:
                values[id(variable)] = variable.read_value()
            assignments.append(copy.assign(values[id(variable)], read_value=False))
        return tf.group(*assignments) if assignments else None


def _refuse_reference(variable: Any) -> None:
    """A copy would share the memory of a reference variable, whose updates change it in place."""
    if variable.dtype != variable.dtype.base_dtype:
        raise EngineError(
            f"{variable.op.name!r} is a reference variable, of which towers cannot have copies.\n"
            "  Leave use_resource=False out, or use --variable_update parameter_server."
        )
