"""What a model of the toy engine is made of: tensors, variables, operations, optimizers.

    from mox_core.testing import toy_nn as toy

    def model_fn(inputs, mode):
        images, labels = inputs
        weights = toy.variable("weights", (64, 10))
        bias = toy.variable("bias", (10,))
        logits = images @ weights + bias
        loss = toy.softmax_cross_entropy(logits, labels)
        return mox.ModelSpec(loss=loss, log_info={"loss": loss})

Operations compute at once. A `Tensor` remembers which operation made it, which is enough to take
gradients, to compute it again from other inputs, and to export it.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

import numpy as np

from mox_core.errors import SpecError
from mox_core.testing.nn_reference import RULES, Array, Rule

__all__ = [
    "OPERATIONS",
    "Array",
    "Momentum",
    "Optimizer",
    "Sgd",
    "Tensor",
    "Variable",
    "VariableStore",
    "accuracy",
    "apply",
    "gradients",
    "in_order",
    "mean",
    "normal",
    "relu",
    "replay",
    "scope",
    "softmax",
    "softmax_cross_entropy",
    "square",
    "variable",
]


class Tensor:
    """An array and how it was made.

    Args:
        value: the array.
        operation: key in `OPERATIONS`; empty for inputs, variables and constants.
        parents: what the operation was applied to; None for an optional input left out.
        attrs: keyword arguments of the operation.
    """

    def __init__(
        self,
        value: Any,
        operation: str = "",
        parents: tuple[Tensor | None, ...] = (),
        attrs: Mapping[str, Any] | None = None,
    ) -> None:
        self.value: Array = np.asarray(value)
        self.operation = operation
        self.parents = parents
        self.attrs = attrs or {}

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return self.value.shape

    def __add__(self, other: Any) -> Tensor:
        return apply("add", self, other)

    def __sub__(self, other: Any) -> Tensor:
        return apply("subtract", self, other)

    def __mul__(self, other: Any) -> Tensor:
        return apply("multiply", self, other)

    def __matmul__(self, other: Any) -> Tensor:
        return apply("matmul", self, other)


class Variable(Tensor):
    """A tensor that a program keeps, saves and restores; optimizers replace its value."""

    def __init__(self, name: str, value: Array, *, trainable: bool) -> None:
        super().__init__(value)
        self.name = name
        self.trainable = trainable


# ---- Operations ----------------------------------------------------------------------------------


def _softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def _cross_entropy(logits: Array, labels: Array) -> Any:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return -log_probabilities[np.arange(len(labels)), labels].mean()


def _cross_entropy_gradient(
    gradient: Array, loss: Array, logits: Array, labels: Array
) -> tuple[Array, None]:
    difference = _softmax(logits)
    difference[np.arange(len(labels)), labels] -= 1
    return gradient * difference / len(labels), None


OPERATIONS: Mapping[str, Rule] = {
    "add": Rule(np.add, lambda g, y, a, b: (g, g)),
    "subtract": Rule(np.subtract, lambda g, y, a, b: (g, -g)),
    "multiply": Rule(np.multiply, lambda g, y, a, b: (g * b, g * a)),
    "matmul": Rule(np.matmul, lambda g, y, a, b: (g @ b.T, a.T @ g)),
    "square": Rule(np.square, lambda g, y, x: (2 * g * x,)),
    "relu": Rule(lambda x: np.maximum(x, 0), lambda g, y, x: (g * (x > 0),)),
    "mean": Rule(np.mean, lambda g, y, x: (np.full(x.shape, g / x.size),)),
    "softmax": Rule(_softmax, lambda g, y, x: (y * (g - (g * y).sum(axis=-1, keepdims=True)),)),
    "softmax_cross_entropy": Rule(_cross_entropy, _cross_entropy_gradient),
    "accuracy": Rule(lambda x, labels: (x.argmax(axis=-1) == labels).mean()),
    # What neutral models consist of.
    **{f"nn.{name}": rule for name, rule in RULES.items()},
}


def apply(operation: str, *inputs: Any, attrs: Mapping[str, Any] | None = None) -> Tensor:
    """Computes an operation.

    Args:
        operation: key in `OPERATIONS`.
        inputs: tensors, arrays, or None for an optional input that is left out.
        attrs: its keyword arguments.
    """
    parents = tuple(x if x is None or isinstance(x, Tensor) else Tensor(x) for x in inputs)
    value = OPERATIONS[operation].forward(*map(_value, parents), **(attrs or {}))
    return Tensor(value, operation, parents, attrs)


def _value(tensor: Tensor | None) -> Array | None:
    return None if tensor is None else tensor.value


def square(x: Any) -> Tensor:
    """Squares every element."""
    return apply("square", x)


def relu(x: Any) -> Tensor:
    """Replaces negative elements by 0."""
    return apply("relu", x)


def mean(x: Any) -> Tensor:
    """The mean of all elements, a scalar."""
    return apply("mean", x)


def softmax(x: Any) -> Tensor:
    """Probabilities over the last axis."""
    return apply("softmax", x)


def softmax_cross_entropy(logits: Any, labels: Any) -> Tensor:
    """The mean cross entropy of a batch, a scalar.

    Args:
        logits: [batch, classes].
        labels: [batch], integers.
    """
    return apply("softmax_cross_entropy", logits, labels)


def accuracy(logits: Any, labels: Any) -> Tensor:
    """The share of rows whose largest logit stands at the label, a scalar; it has no gradient."""
    return apply("accuracy", logits, labels)


def in_order(tensors: Iterable[Tensor], stop_at: Iterable[Tensor] = ()) -> list[Tensor]:
    """Lists `tensors` and all that they are made of, parents first, not going beyond `stop_at`."""
    seen = set(stop_at)
    order = []
    stack = [(tensor, False) for tensor in reversed(list(tensors))]
    while stack:
        tensor, parents_done = stack.pop()
        if parents_done:
            order.append(tensor)
        elif tensor not in seen:
            seen.add(tensor)
            stack.append((tensor, True))
            stack += [(one, False) for one in reversed(tensor.parents) if one is not None]
    return order


def gradients(loss: Tensor) -> dict[Variable, Array]:
    """The gradients of a scalar for all trainable variables that it depends on."""
    flowing: dict[Tensor, Array] = {loss: np.ones_like(loss.value)}
    found = {}
    for tensor in reversed(in_order([loss])):
        gradient = flowing.pop(tensor, None)
        if gradient is None:
            continue
        if isinstance(tensor, Variable) and tensor.trainable:
            found[tensor] = gradient.astype(tensor.value.dtype)
        backward = OPERATIONS[tensor.operation].backward if tensor.operation else None
        if backward is None:
            continue
        parts = backward(gradient, tensor.value, *map(_value, tensor.parents), **tensor.attrs)
        for parent, part in zip(tensor.parents, parts, strict=True):
            if parent is not None and part is not None:
                flowing[parent] = flowing.get(parent, 0) + _sum_to_shape(part, parent.shape)
    return found


def _sum_to_shape(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Undoes broadcasting: sums over the axes along which a smaller array was repeated."""
    added = gradient.ndim - len(shape)
    repeated = tuple(axis + added for axis, size in enumerate(shape) if size == 1)
    return np.asarray(gradient.sum(axis=tuple(range(added)) + repeated)).reshape(shape)


def replay(tensors: Iterable[Tensor], given: Mapping[Tensor, Array]) -> list[Array]:
    """Computes tensors again, with other values of some and the newest values of variables."""
    wanted = list(tensors)
    values = dict(given)
    for tensor in in_order(wanted, stop_at=given):
        arguments = [None if parent is None else values[parent] for parent in tensor.parents]
        values[tensor] = (
            np.asarray(OPERATIONS[tensor.operation].forward(*arguments, **tensor.attrs))
            if tensor.operation
            else tensor.value
        )
    return [values[tensor] for tensor in wanted]


# ---- Variables -----------------------------------------------------------------------------------

# Context variables, not globals: two programs in two threads do not see each other's.
_active_store: ContextVar[VariableStore | None] = ContextVar("mox_toy_store", default=None)
_active_scope: ContextVar[str] = ContextVar("mox_toy_scope", default="")


class VariableStore:
    """The variables of one program, shared by all calls of its model_fn."""

    def __init__(self) -> None:
        self.variables: dict[str, Variable] = {}
        self.frozen = False

    @contextmanager
    def active(self) -> Iterator[None]:
        """`variable` makes and finds variables here inside a `with` block."""
        token = _active_store.set(self)
        try:
            yield
        finally:
            _active_store.reset(token)

    def get(
        self,
        name: str,
        shape: tuple[int, ...],
        init: Callable[..., Array],
        *,
        trainable: bool,
        dtype: str = "float32",
    ) -> Variable:
        """Returns the variable `name`, made by `init` when it is new.

        Raises:
            SpecError: it exists with another shape, or is new in a store that is frozen.
        """
        found = self.variables.get(name)
        if found is None:
            if self.frozen:
                raise SpecError(
                    f"model_fn made a new variable {name!r} in a later step.\n"
                    "  Make the same variables in every call, so that all of them are saved."
                )
            value = np.asarray(init(shape), dtype=dtype)
            found = self.variables[name] = Variable(name, value, trainable=trainable)
        if found.shape != shape:
            raise SpecError(
                f"variable {name!r} has shape {found.shape}, and model_fn asks for {shape}.\n"
                "  Give the second variable a name or a scope of its own."
            )
        return found


@contextmanager
def scope(name: str) -> Iterator[None]:
    """Puts `name/` before the names of variables made in a `with` block; scopes nest."""
    token = _active_scope.set(f"{_active_scope.get()}{name}/")
    try:
        yield
    finally:
        _active_scope.reset(token)


def normal(stddev: float = 0.1, seed: int = 0) -> Callable[[tuple[int, ...]], Array]:
    """Initial values: normally distributed around 0."""
    return lambda shape: np.random.default_rng(seed).normal(0.0, stddev, shape)


def variable(
    name: str,
    shape: tuple[int, ...],
    init: Callable[[tuple[int, ...]], Array] = np.zeros,
    *,
    trainable: bool = True,
) -> Variable:
    """Returns the float32 variable of this name, the same one in every call of model_fn.

    Args:
        name: below the scopes that are open.
        shape: its shape.
        init: shape -> first values.
        trainable: whether optimizers update it.

    Raises:
        SpecError: called outside of model_fn, or the name stands for another shape.
    """
    store = _active_store.get()
    if store is None:
        raise SpecError(f"toy_nn.variable({name!r}) is called outside of model_fn; call it inside.")
    return store.get(_active_scope.get() + name, tuple(shape), init, trainable=trainable)


# ---- Optimizers ----------------------------------------------------------------------------------


class Optimizer(abc.ABC):
    """An update rule. Its state lies in slots, one array of the variable's shape each.

    Args:
        learning_rate: a number, or a function of the global step.

    Attributes:
        slots: name of a slot -> its first value, everywhere.
        scalars: the same for state of the optimizer as a whole.
    """

    slots: Mapping[str, float] = MappingProxyType({})
    scalars: Mapping[str, float] = MappingProxyType({})

    def __init__(self, learning_rate: float | Callable[[int], float]) -> None:
        self._learning_rate = learning_rate

    def rate(self, step: int) -> float:
        """The learning rate at a global step."""
        return self._learning_rate(step) if callable(self._learning_rate) else self._learning_rate

    @abc.abstractmethod
    def update(self, value: Array, gradient: Array, slots: Mapping[str, Array], step: int) -> Array:
        """Returns the variable's next value and changes the slots in place.

        Args:
            value: of the variable.
            gradient: of the same shape.
            slots: those of the variable, and the optimizer's scalars.
            step: the global step.
        """

    def finish(self, scalars: Mapping[str, Array]) -> None:
        """Changes the scalars in place when all variables are updated."""


class Sgd(Optimizer):
    """value -= rate * gradient."""

    def update(self, value: Array, gradient: Array, slots: Mapping[str, Array], step: int) -> Array:
        """Returns the variable's next value."""
        return (value - self.rate(step) * gradient).astype(value.dtype)


class Momentum(Optimizer):
    """velocity = momentum * velocity + gradient; value -= rate * velocity."""

    slots = MappingProxyType({"momentum": 0.0})

    def __init__(
        self, learning_rate: float | Callable[[int], float], momentum: float = 0.9
    ) -> None:
        super().__init__(learning_rate)
        self._momentum = momentum

    def update(self, value: Array, gradient: Array, slots: Mapping[str, Array], step: int) -> Array:
        """Returns the variable's next value and keeps the velocity."""
        velocity = slots["momentum"]
        velocity[...] = self._momentum * velocity + gradient
        return (value - self.rate(step) * velocity).astype(value.dtype)
