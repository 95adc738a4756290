"""Graph: what one call of model_fn builds, with its scopes, variables and collections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from mox_core.errors import SpecError
from mox_core.nn.initializers import Initializer
from mox_core.nn.shapes import Misfit
from mox_core.nn.tensor import Shape, Tensor, Variable
from mox_core.spec import Mode, ModeKeys

__all__ = [
    "Collections",
    "Graph",
    "VariableStore",
    "active_graph",
    "add_to_collection",
    "get_collection",
    "is_training",
    "variable_scope",
]


class Collections:
    """Names of the collections that layers fill."""

    GLOBAL_VARIABLES = "variables"
    TRAINABLE_VARIABLES = "trainable_variables"
    MODEL_VARIABLES = "model_variables"
    REGULARIZATION_LOSSES = "regularization_losses"
    LOSSES = "losses"


class VariableStore:
    """Which variables a program has, over all graphs of it (towers, inter mode, export).

    Attributes:
        variables: name -> the Variable of the graph that made it first.
        frozen: no graph may add others any more.
    """

    def __init__(self) -> None:
        self.variables: dict[str, Variable] = {}
        self.frozen = False

    def declare(self, variable: Variable) -> None:
        """Takes note of a variable that a graph makes.

        Raises:
            SpecError: another graph made it with another shape or dtype, or none of them did.
        """
        found = self.variables.get(variable.name)
        if found is None:
            if self.frozen:
                raise SpecError(
                    f"model_fn made a new variable {variable.name!r} in a later call.\n"
                    "  Make the same variables in every tower and mode, so that all of them are "
                    "trained and saved."
                )
            self.variables[variable.name] = variable
        elif (found.shape, found.dtype) != (variable.shape, variable.dtype):
            raise SpecError(
                f"variable {variable.name!r} is {found.dtype} {found.shape}, but another call of "
                f"model_fn asks for {variable.dtype} {variable.shape}.\n"
                "  Make the same variables in every tower and mode."
            )


class Graph:
    """Tensors in the order in which they were made, so that inputs come before what uses them.

    Args:
        mode: the run mode; TRAIN makes `nn.is_training()` true.
        store: the variables of the program.

    Attributes:
        tensors: all of them.
        variables: name -> Variable, those of this graph.
    """

    def __init__(self, mode: Mode, store: VariableStore) -> None:
        self.mode = mode
        self.tensors: list[Tensor] = []
        self.variables: dict[str, Variable] = {}
        self._store = store
        self._owned: set[Tensor] = set()
        self._collections: dict[str, list[Any]] = {}
        self._scope = ""
        self._reuse = False
        self._scope_counts: dict[str, int] = {}
        self._names: dict[str, int] = {}

    @property
    def scope(self) -> str:
        """The variable scope that is open, such as `resnet_v1_50/conv1`."""
        return self._scope

    @contextmanager
    def active(self) -> Iterator[None]:
        """Operations of `mox.nn` build here inside a `with` block."""
        token = _active.set(self)
        try:
            yield
        finally:
            _active.reset(token)

    def add(
        self, op: str, inputs: Sequence[Tensor | None], attrs: Mapping[str, Any] | None = None
    ) -> Tensor:
        """Adds an operation.

        Args:
            op: a name in `OPERATIONS`.
            inputs: its inputs, None for optional ones that are left out.
            attrs: all attributes; its `infer` may complete them.

        Raises:
            SpecError: the inputs do not fit; names the scope, what it expected and what it got.
        """
        from mox_core.nn.operations import OPERATIONS

        completed = dict(attrs or {})
        for tensor in inputs:
            if tensor is not None and not self.owns(tensor):
                raise SpecError(
                    f"{self._where(op)}: {tensor.name} belongs to another call of model_fn.\n"
                    "  Keep no tensors between calls; make them anew."
                )
        try:
            shape, dtype = OPERATIONS[op].infer(tuple(inputs), completed)
        except Misfit as misfit:
            raise self.error(op, misfit) from None
        return self._append(Tensor(op, tuple(inputs), completed, shape, dtype, self._unique(op)))

    def owns(self, tensor: Tensor) -> bool:
        """Whether a tensor was made here."""
        return tensor in self._owned

    def input(self, name: str, shape: Shape, dtype: str) -> Tensor:
        """Adds an input of the model."""
        return self._append(Tensor("input", (), {"name": name}, shape, dtype, self._unique(name)))

    def error(self, op: str, misfit: Misfit) -> SpecError:
        """The error for something that does not fit, with the place where it was asked for."""
        advice = f"\n  {misfit.advice}" if misfit.advice else ""
        return SpecError(f"{self._where(op)}: {misfit}.{advice}")

    def _where(self, op: str) -> str:
        return f"nn.{op} in scope {self._scope!r}" if self._scope else f"nn.{op}"

    def _append(self, tensor: Tensor) -> Tensor:
        self.tensors.append(tensor)
        self._owned.add(tensor)
        return tensor

    def _unique(self, base: str) -> str:
        name = f"{self._scope}/{base}" if self._scope else base
        count = self._names.get(name, 0)
        self._names[name] = count + 1
        return f"{name}_{count}" if count else name

    # ---- Scopes and variables ----------------------------------------------------------------

    @contextmanager
    def variable_scope(
        self, name: str | None, *, default_name: str | None = None, reuse: bool | None = None
    ) -> Iterator[str]:
        """See `mox_core.nn.variable_scope`."""
        outer, outer_reuse = self._scope, self._reuse
        chosen = name if name is not None else self._unused_scope(default_name or "scope")
        self._scope = f"{outer}/{chosen}" if outer and chosen else (outer or chosen)
        self._reuse = outer_reuse if reuse is None else bool(reuse) or outer_reuse
        inner = self._scope
        self._scope_counts[inner] = self._scope_counts.get(inner, 0) + 1
        try:
            yield inner
        finally:
            # Names that are found automatically begin again when the scope is opened again.
            for scope in self._scope_counts:
                if scope.startswith(f"{inner}/"):
                    self._scope_counts[scope] = 0
            self._scope, self._reuse = outer, outer_reuse

    def _unused_scope(self, base: str) -> str:
        prefix = f"{self._scope}/" if self._scope else ""
        name, number = base, 0
        while self._scope_counts.get(prefix + name, 0):
            number += 1
            name = f"{base}_{number}"
        return name

    def variable(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: str,
        *,
        initializer: Initializer,
        trainable: bool,
        collections: Sequence[str] = (),
    ) -> tuple[Variable, bool]:
        """Makes a variable, or finds it where the scope is open for reuse.

        Returns:
            The variable, and whether it is new.

        Raises:
            SpecError: it exists already, or it is to be reused but does not exist or fit.
        """
        full = f"{self._scope}/{name}" if self._scope else name
        found = self.variables.get(full)
        if found is not None:
            if not self._reuse:
                raise SpecError(
                    f"variable {full!r} exists already.\n  Give the second layer a scope of its "
                    "own, or share it with nn.variable_scope(..., reuse=True)."
                )
            if (found.shape, found.dtype) != (shape, dtype):
                raise SpecError(
                    f"variable {full!r} is shared: expected {found.dtype} {found.shape}, got "
                    f"{dtype} {shape}."
                )
            return found, False
        if self._reuse:
            raise SpecError(
                f"variable {full!r} is to be reused, but does not exist.\n"
                "  Open the scope without reuse=True the first time."
            )
        # Variables of a graph are tensors without inputs; their name is free of counters.
        variable = Variable("variable", (), {}, shape, dtype, full, initializer, trainable)
        self._store.declare(variable)
        self.variables[full] = variable
        self._append(variable)
        for key in (Collections.GLOBAL_VARIABLES, *collections):
            self.collect(key, variable)
        if trainable:
            self.collect(Collections.TRAINABLE_VARIABLES, variable)
        return variable, True

    def collect(self, key: str, value: Any) -> None:
        """Puts something into a collection."""
        self._collections.setdefault(key, []).append(value)

    def collection(self, key: str, scope: str | None = None) -> list[Any]:
        """See `get_collection`."""
        values = self._collections.get(key, [])
        return [one for one in values if scope is None or one.name.startswith(scope)]


# A context variable, not a global: model functions in two threads do not see each other's graph.
_active: ContextVar[Graph | None] = ContextVar("mox_nn_graph", default=None)


def active_graph(caller: str) -> Graph:
    """The graph that is being built.

    Raises:
        SpecError: there is none.
    """
    graph = _active.get()
    if graph is None:
        raise SpecError(
            f"nn.{caller} is called outside of a neutral model_fn; call it inside.\n"
            "  A model_fn is neutral when mox_core.run calls it (not mox_tf.run or the like)."
        )
    return graph


def variable_scope(
    name: str | None, *, default_name: str | None = None, reuse: bool | None = None
) -> Any:
    """Puts `name/` before the names of variables made in a `with` block; scopes nest.

    Args:
        name: of the scope; None to find an unused one that begins with `default_name`.
        default_name: such as `Conv`, which gives `Conv`, `Conv_1`, ...
        reuse: True: variables in it exist already, and are shared.

    Returns:
        A context manager that gives the whole name of the scope.
    """
    graph = active_graph("variable_scope")
    return graph.variable_scope(name, default_name=default_name, reuse=reuse)


def is_training() -> bool:
    """True when the model is built for mode TRAIN."""
    return active_graph("is_training").mode == ModeKeys.TRAIN


def add_to_collection(key: str, value: Any) -> None:
    """Puts a tensor into a collection of the model that is being built."""
    active_graph("add_to_collection").collect(key, value)


def get_collection(key: str, scope: str | None = None) -> list[Any]:
    """Returns what this call of model_fn (one tower) has put into a collection.

    Args:
        key: one of `nn.Collections`, or any other name.
        scope: only what has a name that begins so.
    """
    return active_graph("get_collection").collection(key, scope)
