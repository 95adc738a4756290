"""Symbols of which model_fn builds a model, once; the engine computes them for each batch."""

from __future__ import annotations

import abc
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from mox_core.errors import SpecError

Rows = list[list[float]]


@dataclass(eq=False)  # so that it can be a key
class Variable:
    """Numbers that are trained, in row-major order."""

    shape: tuple[int, ...]
    numbers: list[float]


@dataclass
class Batch:
    """One batch on its way through the model; remembers what was computed."""

    inputs: Sequence[Any]
    computed: dict[Symbol, Any] = field(default_factory=dict)

    def value(self, symbol: Symbol) -> Any:
        if symbol not in self.computed:
            self.computed[symbol] = symbol.compute(self)
        return self.computed[symbol]


class Symbol(abc.ABC):
    """Something that has a value for every batch.

    Attributes:
        shape: `()` for a scalar; None stands for the size of the batch.
    """

    shape: tuple[int | None, ...] = ()

    @abc.abstractmethod
    def compute(self, batch: Batch) -> Any:
        """Returns the value: a float, or a list of rows."""


class Input(Symbol):
    """What input_fn gives at one position."""

    shape = (None,)

    def __init__(self, position: int) -> None:
        self.position = position

    def compute(self, batch: Batch) -> Any:
        return batch.inputs[self.position]


class Linear(Symbol):
    """features @ weights + bias."""

    def __init__(self, features: Symbol, weights: Variable, bias: Variable) -> None:
        self.features, self.weights, self.bias = features, weights, bias
        self.shape = (None, *bias.shape)

    def compute(self, batch: Batch) -> Rows:
        columns = len(self.bias.numbers)
        by_column = [self.weights.numbers[column::columns] for column in range(columns)]
        return [
            [
                offset + sum(x * w for x, w in zip(row, weights, strict=True))
                for weights, offset in zip(by_column, self.bias.numbers, strict=True)
            ]
            for row in batch.value(self.features)
        ]


class CrossEntropy(Symbol):
    """The mean cross entropy of a batch."""

    def __init__(self, logits: Linear, labels: Symbol) -> None:
        self.logits, self.labels = logits, labels

    def compute(self, batch: Batch) -> float:
        labels = batch.value(self.labels)
        rows = self._probabilities(batch)
        return -sum(_log(row[label]) for row, label in zip(rows, labels, strict=True)) / len(rows)

    def gradients(self, batch: Batch) -> list[tuple[Variable, list[float]]]:
        """The gradients for the weights and the bias."""
        errors = self._probabilities(batch)
        for row, label in zip(errors, batch.value(self.labels), strict=True):
            row[label] -= 1
        by_class = list(zip(*errors, strict=True))
        by_feature = list(zip(*batch.value(self.logits.features), strict=True))
        count = len(errors)
        weights = [
            sum(x * e for x, e in zip(feature, error, strict=True)) / count
            for feature in by_feature
            for error in by_class
        ]
        bias = [sum(error) / count for error in by_class]
        return [(self.logits.weights, weights), (self.logits.bias, bias)]

    def _probabilities(self, batch: Batch) -> Rows:
        rows = []
        for logits in batch.value(self.logits):
            powers = [math.exp(logit - max(logits)) for logit in logits]
            rows.append([power / sum(powers) for power in powers])
        return rows


class Accuracy(Symbol):
    """The share of rows whose largest logit stands at the label."""

    def __init__(self, logits: Symbol, labels: Symbol) -> None:
        self.logits, self.labels = logits, labels

    def compute(self, batch: Batch) -> float:
        rows, labels = batch.value(self.logits), batch.value(self.labels)
        right = sum(row.index(max(row)) == label for row, label in zip(rows, labels, strict=True))
        return right / len(rows)


class Momentum:
    """velocity = momentum * velocity + gradient; number -= rate * velocity."""

    def __init__(self, rate: float, momentum: float = 0.9) -> None:
        self.rate, self.momentum = rate, momentum


_variables: ContextVar[dict[str, Variable] | None] = ContextVar("demo_variables", default=None)


@contextmanager
def building(variables: dict[str, Variable]) -> Iterator[None]:
    """Model functions put their variables into this dict inside a `with` block."""
    token = _variables.set(variables)
    try:
        yield
    finally:
        _variables.reset(token)


def linear(features: Symbol, name: str, *, inputs: int, outputs: int) -> Linear:
    """A linear layer, zero at first.

    Args:
        features: [batch, inputs].
        name: of the layer; its variables are `<name>/weights` and `<name>/bias`.
        inputs: numbers per row of features.
        outputs: numbers per row of the result.
    """
    variables = _variables.get()
    if variables is None:
        raise SpecError(f"demo.linear({name!r}) is called outside of model_fn; call it inside.")
    weights = Variable((inputs, outputs), [0.0] * (inputs * outputs))
    bias = Variable((outputs,), [0.0] * outputs)
    variables.update({f"{name}/weights": weights, f"{name}/bias": bias})
    return Linear(features, weights, bias)


def cross_entropy(logits: Linear, labels: Symbol) -> CrossEntropy:
    """The mean cross entropy of a batch, a scalar."""
    return CrossEntropy(logits, labels)


def accuracy(logits: Symbol, labels: Symbol) -> Accuracy:
    """The share of rows that are right, a scalar."""
    return Accuracy(logits, labels)


def _log(x: float) -> float:
    return math.log(x) if x > 0 else (math.nan if math.isnan(x) else -math.inf)
