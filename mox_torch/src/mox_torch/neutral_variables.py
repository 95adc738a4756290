"""The variables of neutral graphs, in the layouts that PyTorch computes in."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from mox_core import nn
from mox_core.nn.graph import Graph
from mox_core.nn.lowering import (
    CONV,
    DENSE,
    DEPTHWISE,
    LOGICAL,
    kernel_layouts,
    ordered,
    variable_uses,
)
from mox_core.nn.tensor import Tensor, Variable
from mox_torch.store import VariableStore

__all__ = ["NeutralVariables"]


class NeutralVariables:
    """Puts the variables of graphs that share them into a program's store.

    Args:
        store: the program's.

    Attributes:
        declared: what the graphs have asked for.
        layouts: name -> layout in memory, see `kernel_layouts`.
    """

    def __init__(self, store: VariableStore) -> None:
        self.declared = nn.VariableStore()
        self.layouts: dict[str, str] = {}
        self._store = store
        self._native: dict[str, torch.Tensor] = {}

    def adopt(self, graph: Graph, targets: Iterable[Tensor]) -> None:
        """Makes those that are new; `targets` are what the graph is used for.

        Raises:
            SpecError: they are new in a later step.
        """
        layouts = kernel_layouts(variable_uses(ordered(targets)))
        for name, variable in graph.variables.items():
            if name not in self.layouts:
                layout = self.layouts[name] = layouts.get(name, LOGICAL)
                self._store.adopt_variable(
                    name,
                    _native(variable, layout),
                    trainable=variable.trainable,
                    view=_view(variable, layout),
                )
        self._native = self._found()

    def native(self, *, traced: bool = False) -> dict[str, torch.Tensor]:
        """Name -> variable.

        Args:
            traced: look them up anew, since torch.export puts others into their places.
        """
        return self._found() if traced else self._native

    def _found(self) -> dict[str, torch.Tensor]:
        root = self._store.root
        every = {**root._parameters, **root._buffers}
        return {name: every[name] for name in self.layouts}  # type: ignore[misc]


def _native(variable: Variable, layout: str) -> torch.Tensor:
    value = torch.as_tensor(nn.initial_value(variable)).to(getattr(torch, variable.dtype))
    if layout == CONV:
        value = value.permute(3, 2, 0, 1)
    elif layout == DEPTHWISE:
        value = value.permute(2, 3, 0, 1).flatten(0, 1).unsqueeze(1)
    elif layout == DENSE:
        return value.t().contiguous()
    if layout == LOGICAL:
        return value.clone()
    return value.contiguous(memory_format=torch.channels_last)


def _view(variable: Variable, layout: str) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """Native -> logical layout, as a view that can be written to."""
    if layout == CONV:
        return lambda native: native.permute(2, 3, 1, 0)
    if layout == DENSE:
        return lambda native: native.t()
    if layout == DEPTHWISE:
        sizes = (variable.shape[2], variable.shape[3])
        return lambda native: native.squeeze(1).unflatten(0, sizes).permute(2, 3, 0, 1)  # type: ignore[no-untyped-call]
    return None
