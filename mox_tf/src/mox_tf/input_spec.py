"""InputSpec: what input_fn may return in place of a list."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["InputSpec"]


class InputSpec(list[Any]):
    """One or more inputs, each a list of tensors; model_fn gets the same.

        spec = mox.InputSpec()
        spec.new_input([images, labels])
        return spec                              # in input_fn
        images, labels = inputs.get_input(0)     # in model_fn

    Args:
        inputs: the inputs so far.
        split_to_device: accepted for scripts of MoXing; each tower gets batches of its own anyway.
    """

    def __init__(self, inputs: Iterable[Any] = (), *, split_to_device: bool = False) -> None:
        super().__init__(inputs)

    def new_input(self, tensors: Iterable[Any]) -> None:
        """Adds an input."""
        self.append(list(tensors))

    def get_input(self, index: int) -> list[Any]:
        """The tensors of an input, in the order in which they were added."""
        tensors: list[Any] = self[index]
        return tensors
