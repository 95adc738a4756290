"""Neutral graphs as Python code: one function of plain calls, without an interpreter in the step.

Images stay in NCHW between operations on images. In memory they are NHWC all the while, as they
came in, so that changing between both views copies nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from mox_core.nn.lowering import CONV, DENSE, DEPTHWISE, LOGICAL, ordered
from mox_core.nn.tensor import Tensor, Variable
from mox_torch.nn_functions import CHANNELS_FIRST, ELEMENTWISE, TABLE

__all__ = ["compile_graph"]

_TO_CHANNELS_FIRST = (0, 2, 3, 1)  # position of an NHWC axis in NCHW


def compile_graph(
    targets: Sequence[Tensor],
    inputs: Sequence[Tensor],
    layouts: Mapping[str, str],
    device: torch.device,
) -> Callable[..., tuple[torch.Tensor, ...]]:
    """Writes and compiles the function that computes `targets`.

    Args:
        targets: what it returns, in this order.
        inputs: tensors of op `input`, the order of its arguments.
        layouts: variable name -> layout in memory.
        device: where constants go.

    Returns:
        `function(variables, update, *inputs)`, with variables by name and whether batch
        normalizations move their averages.
    """
    writer = _Writer(layouts, device)
    return writer.function(list(targets), list(inputs))


class _Writer:
    def __init__(self, layouts: Mapping[str, str], device: torch.device) -> None:
        self._layouts = layouts
        self._device = device
        self._lines: list[str] = []
        # Tensor -> name of the Python variable, in either layout.
        self._logical: dict[Tensor, str] = {}
        self._channels_first: dict[Tensor, str] = {}
        self._names = 0
        self._scope: dict[str, Any] = {
            "cross_entropy": F.cross_entropy,
            "linear": F.linear,
            "inf": float("inf"),
            "nan": float("nan"),
            **{f"c_{name}": function for name, function in CHANNELS_FIRST.items()},
            **{f"t_{name}": function for name, function in TABLE.items()},
        }

    def function(
        self, targets: list[Tensor], inputs: list[Tensor]
    ) -> Callable[..., tuple[torch.Tensor, ...]]:
        arguments = [f"x{i}" for i in range(len(inputs))]
        self._logical.update(zip(inputs, arguments, strict=True))
        order = ordered(targets)
        self._means = _means_of_cross_entropy(order, targets)
        inside = set(self._means.values())
        order = [tensor for tensor in order if tensor not in inside]
        last_use = {one: number for number, t in enumerate(order) for one in self._operands(t)}
        kept = {*targets, *inputs}
        for number, tensor in enumerate(order):
            if tensor not in self._logical:
                self._write(tensor)
            for one in set(self._operands(tensor)):
                if last_use[one] == number and one not in kept:
                    self._forget(one)
        returned = "".join(f"{self._as_logical(target)}, " for target in targets)
        body = "\n    ".join([*self._lines, f"return ({returned})"])
        source = f"def compute({', '.join(['variables', 'update', *arguments])}):\n    {body}\n"
        exec(compile(source, "<mox graph>", "exec"), self._scope)  # noqa: S102
        compute: Callable[..., tuple[torch.Tensor, ...]] = self._scope["compute"]
        return compute

    def _operands(self, tensor: Tensor) -> list[Tensor]:
        written = self._means.get(tensor, tensor)
        return [one for one in written.inputs if one is not None]

    # ---- One operation -----------------------------------------------------------------------

    def _write(self, tensor: Tensor) -> None:
        if isinstance(tensor, Variable):
            return  # where it is used, in the layout that is wanted there
        if tensor.op == "constant":
            value = TABLE["constant"](**tensor.attrs).to(self._device)
            name = f"k{len(self._scope)}"
            self._scope[name] = value
            self._logical[tensor] = name
        elif tensor in self._means:
            logits, labels = map(self._as_logical, self._operands(tensor))
            self._logical[tensor] = self._assign(f"cross_entropy({logits}, {labels}.long())")
        elif tensor.op == "dense" and self._layout(_given(tensor.inputs[1])) == DENSE:
            x, weights, *bias = self._operands(tensor)
            values = [self._as_logical(x), f"variables[{weights.name!r}]"]
            self._logical[tensor] = self._call(
                "linear", values + [*map(self._as_logical, bias)], {}
            )
        elif tensor.op in CHANNELS_FIRST and tensor.rank == 4:
            self._write_image_operation(tensor)
        elif tensor.rank == 4 and self._keeps_channels_first(tensor):
            attrs = dict(tensor.attrs)
            if "axis" in attrs:
                attrs["axis"] = _TO_CHANNELS_FIRST[attrs["axis"]]
            values = [self._channels_first_operand(one) for one in tensor.inputs]
            self._channels_first[tensor] = self._call(f"t_{tensor.op}", values, attrs)
        elif tensor.op in ("reduce_mean", "reduce_sum", "reduce_max") and self._is_global(tensor):
            attrs = {**tensor.attrs, "axes": (2, 3)}
            image = self._as_channels_first(_given(tensor.inputs[0]))
            self._logical[tensor] = self._call(f"t_{tensor.op}", [image], attrs)
        else:
            values = ["None" if one is None else self._as_logical(one) for one in tensor.inputs]
            if tensor.op == "batch_norm":
                values[3:] = self._averages(tensor)
            self._logical[tensor] = self._call(f"t_{tensor.op}", values, tensor.attrs)

    def _write_image_operation(self, tensor: Tensor) -> None:
        x, *others = tensor.inputs
        values = [self._as_channels_first(_given(x))]
        if tensor.op in ("conv2d", "depthwise_conv2d"):
            values.append(self._kernel(_given(others.pop(0)), tensor.op))
        values += ["None" if one is None else self._as_logical(one) for one in others]
        if tensor.op == "batch_norm":
            values[3:] = self._averages(tensor)
        self._channels_first[tensor] = self._call(f"c_{tensor.op}", values, tensor.attrs)

    def _averages(self, tensor: Tensor) -> list[str]:
        """Moving averages; a training step that is not to move them hands in none."""
        names = [self._as_logical(_given(one)) for one in tensor.inputs[3:]]
        if not tensor.attrs["training"]:
            return names
        return [f"{name} if update else None" for name in names]

    def _keeps_channels_first(self, tensor: Tensor) -> bool:
        """Whether all operands are images in NCHW, or scalars."""
        if tensor.op not in ELEMENTWISE and tensor.op != "concat":
            return False
        images = [one for one in tensor.inputs if one is not None and one.rank]
        return bool(images) and all(one in self._channels_first for one in images)

    def _is_global(self, tensor: Tensor) -> bool:
        x = _given(tensor.inputs[0])
        attrs = tensor.attrs
        return x in self._channels_first and attrs["axes"] == (1, 2) and not attrs["keepdims"]

    # ---- Operands ----------------------------------------------------------------------------

    def _call(self, function: str, values: Sequence[str], attrs: Mapping[str, Any]) -> str:
        given = [*values, *(f"{key}={value!r}" for key, value in attrs.items())]
        return self._assign(f"{function}({', '.join(given)})")

    def _assign(self, expression: str) -> str:
        name = f"v{self._names}"
        self._names += 1
        self._lines.append(f"{name} = {expression}")
        return name

    def _layout(self, tensor: Tensor) -> str | None:
        """The layout of a variable in memory; None for other tensors."""
        return self._layouts.get(tensor.name, LOGICAL) if isinstance(tensor, Variable) else None

    def _variable(self, variable: Variable) -> str:
        """The variable as the graph sees it."""
        name = f"variables[{variable.name!r}]"
        layout = self._layout(variable)
        if layout == CONV:
            return self._assign(f"{name}.permute(2, 3, 1, 0)")
        if layout == DEPTHWISE:
            channels = variable.shape[2]
            unflat = f"{name}.squeeze(1).unflatten(0, ({channels}, {variable.shape[3]}))"
            return self._assign(f"{unflat}.permute(2, 3, 0, 1)")
        return self._assign(f"{name}.t()" if layout == DENSE else name)

    def _kernel(self, weights: Tensor, op: str) -> str:
        """The weights of a convolution as PyTorch wants them."""
        native = CONV if op == "conv2d" else DEPTHWISE
        if self._layout(weights) == native:
            return f"variables[{weights.name!r}]"
        name = self._as_logical(weights)
        if op == "conv2d":
            return f"{name}.permute(3, 2, 0, 1)"
        return f"{name}.permute(2, 3, 0, 1).flatten(0, 1).unsqueeze(1)"

    def _channels_first_operand(self, tensor: Tensor | None) -> str:
        given = _given(tensor)
        return self._as_channels_first(given) if given.rank else self._as_logical(given)

    def _as_channels_first(self, tensor: Tensor) -> str:
        if tensor not in self._channels_first:
            name = f"{self._as_logical(tensor)}.permute(0, 3, 1, 2)"
            self._channels_first[tensor] = self._assign(name)
        return self._channels_first[tensor]

    def _as_logical(self, tensor: Tensor) -> str:
        if isinstance(tensor, Variable) and tensor not in self._logical:
            self._logical[tensor] = self._variable(tensor)
        elif tensor not in self._logical:
            name = f"{self._channels_first[tensor]}.permute(0, 2, 3, 1)"
            self._logical[tensor] = self._assign(name)
        return self._logical[tensor]

    def _forget(self, tensor: Tensor) -> None:
        """Frees what nothing reads any more: matters where autograd does not keep it anyway."""
        names = [held.pop(tensor, "") for held in (self._logical, self._channels_first)]
        unused = [name for name in names if name.startswith("v")]
        if unused:
            self._lines.append(f"del {', '.join(unused)}")


def _means_of_cross_entropy(
    order: Sequence[Tensor], targets: Sequence[Tensor]
) -> dict[Tensor, Tensor]:
    """The means that are of nothing but a cross entropy -> that; PyTorch has both in one."""
    uses = Counter([*targets, *(one for tensor in order for one in tensor.inputs)])
    found = {}
    for mean in order:
        if mean.op == "reduce_mean" and not mean.attrs["keepdims"] and mean.attrs["axes"] == (0,):
            entropy = _given(mean.inputs[0])
            if entropy.op == "sparse_softmax_cross_entropy" and entropy.rank == uses[entropy] == 1:
                found[mean] = entropy
    return found


def _given(tensor: Tensor | None) -> Tensor:
    assert tensor is not None, "the operation's shape inference has checked it"
    return tensor
