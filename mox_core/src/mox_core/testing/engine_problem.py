"""The problem on which EngineSuite tries an engine: softmax regression on a small data set.

An author says in `EngineProblem` how their engine spells it; `Reference` computes what has to come
out, in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "CLASSES",
    "FEATURES",
    "MOMENTUM",
    "Array",
    "Batch",
    "EngineProblem",
    "Reference",
    "SoftmaxModel",
    "Source",
    "make_batches",
]

Array = npt.NDArray[Any]
Batch = tuple[Array, Array]
"""features [batch, FEATURES] float32 and labels [batch] int64."""

FEATURES = 4
CLASSES = 3
MOMENTUM = 0.9


@dataclass(frozen=True)
class Source:
    """Data that an input_fn has to hand to the engine. Iterate over it, as often as you like.

    Args:
        begin: returns an iterator over (features, labels).
        batched: True: float32 [batch, FEATURES] and int64 [batch], where the batch may differ from
            item to item; False: single samples, float32 [FEATURES] and int64 [].
    """

    begin: Callable[[], Iterator[Batch]]
    batched: bool = True

    def __iter__(self) -> Iterator[Batch]:
        return self.begin()


@dataclass(frozen=True)
class SoftmaxModel:
    """Tensors of the engine's own kind, as model_fn makes them.

    Args:
        features: the input, [batch, FEATURES].
        logits: [batch, classes].
        loss: scalar, the mean cross entropy.
        accuracy: scalar, the share of rows whose largest logit stands at the label.
    """

    features: Any
    logits: Any
    loss: Any
    accuracy: Any


@dataclass(frozen=True)
class EngineProblem:
    """How an engine spells softmax regression.

    Args:
        inputs: `inputs(source)` returns what an input_fn of the engine returns, for the data of a
            `Source`.
        model: `model(inputs, scope, classes)` builds `features @ weights + bias` for the inputs
            `[features, labels]` of model_fn, with the variables in a variable scope named
            `scope`, float32 and zero at first. Engines without `multi_loss` use the scope as a
            prefix of the names. With `multi_loss`, `+` adds two losses.
        optimizer: `optimizer(learning_rate)` returns gradient descent with momentum:
            `velocity = 0.9 * velocity + gradient; value -= learning_rate * velocity`.
        load_exported: for engines with export formats: `load_exported(format, directory)` returns
            a function that computes the output `logits` from the input `features`, both arrays.
    """

    inputs: Callable[[Source], Any]
    model: Callable[[Any, str, int], SoftmaxModel]
    optimizer: Callable[[float], Any]
    load_exported: Callable[[str, str], Callable[[Array], Array]] | None = None


def make_batches(count: int, *, size: int = 8, classes: int = CLASSES) -> list[Batch]:
    """Returns batches of points whose class is that of the largest of `classes` fixed directions.

    Args:
        count: how many batches; the first of them are the same for every count.
        size: samples per batch.
        classes: how many classes.
    """
    directions = np.random.default_rng(1).normal(size=(FEATURES, classes))
    random = np.random.default_rng(2)
    batches = []
    for _ in range(count):
        features = random.normal(size=(size, FEATURES)).astype(np.float32)
        batches.append((features, (features @ directions).argmax(axis=1).astype(np.int64)))
    return batches


class Reference:
    """Softmax regression with momentum, in float64.

    Args:
        learning_rate: of all steps.
        classes: how many classes.
    """

    def __init__(self, learning_rate: float, classes: int = CLASSES) -> None:
        self._learning_rate = learning_rate
        self._weights = np.zeros((FEATURES + 1, classes))  # the last row is the bias
        self._velocity = np.zeros_like(self._weights)

    def logits(self, features: Array) -> Array:
        """Returns [batch, classes]."""
        return np.asarray(_with_ones(features) @ self._weights)

    def loss(self, batch: Batch) -> float:
        """The mean cross entropy."""
        probabilities = self._probabilities(batch[0])
        return float(-np.log(probabilities[np.arange(len(batch[1])), batch[1]]).mean())

    def accuracy(self, batch: Batch) -> float:
        """The share of rows that are right."""
        return float((self.logits(batch[0]).argmax(axis=1) == batch[1]).mean())

    def step(self, towers: Sequence[Batch]) -> list[float]:
        """Does one update with one batch per tower; returns the losses before it."""
        losses = [self.loss(batch) for batch in towers]
        gradients = []
        for features, labels in towers:
            error = self._probabilities(features)
            error[np.arange(len(labels)), labels] -= 1
            gradients.append(_with_ones(features).T @ error / len(labels))
        self._velocity = MOMENTUM * self._velocity + np.mean(gradients, axis=0)
        self._weights = self._weights - self._learning_rate * self._velocity
        return losses

    def _probabilities(self, features: Array) -> Array:
        powers = np.exp(self.logits(features))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _with_ones(features: Array) -> Array:
    return np.hstack([features.astype(np.float64), np.ones((len(features), 1))])
