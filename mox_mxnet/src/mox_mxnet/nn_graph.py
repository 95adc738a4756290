"""Neutral graphs as MXNet symbols.

Images stay in NCHW between operations on images; kernels and dense weights lie in memory as MXNet
wants them, so that a step changes no layouts but that of its input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mox_core.nn.lowering import CONV, DENSE, DEPTHWISE, LOGICAL, ordered
from mox_core.nn.tensor import FLOATS, Tensor, Variable
from mox_mxnet.importing import load
from mox_mxnet.nn_symbols import (
    CHANNELS_FIRST,
    ELEMENTWISE,
    TABLE,
    TRAINING_NORM,
    Symbol,
    Value,
    channels_first,
    dense,
    depthwise_kernel,
    kernel,
    native_dtype,
)

__all__ = ["Lowered", "Moved", "lower_graph"]

sym = load().sym

_TO_CHANNELS_FIRST = (0, 2, 3, 1)  # position of an NHWC axis in NCHW


@dataclass(frozen=True)
class Moved:
    """How a training step moves the averages of one batch normalization.

    Args:
        mean: name of the variable with the moving mean.
        variance: name of the one with the moving variance.
        decay: what is kept of them.
        rows: sizes of x but the channels, whose product is how many rows the statistics are of;
            None: the batch.
    """

    mean: str
    variance: str
    decay: float
    rows: tuple[int | None, ...]


@dataclass
class Lowered:
    """A graph as one symbol.

    Args:
        symbol: its outputs are the targets, then mean and biased variance of each of `moved`;
            None without any.
        constants: name -> value of inputs that never change.
        unused: name -> (shape, dtype) of inputs that the symbol asks for and does not use.
        moved: the batch normalizations whose statistics come out, too.
        trains: whether MXNet has to be in its training mode.
    """

    symbol: Symbol
    constants: dict[str, Any] = field(default_factory=dict)
    unused: dict[str, tuple[tuple[int, ...], str]] = field(default_factory=dict)
    moved: list[Moved] = field(default_factory=list)
    trains: bool = False


def lower_graph(
    targets: Sequence[Tensor],
    inputs: Mapping[str, Tensor],
    layouts: Mapping[str, str],
    *,
    losses: Sequence[Tensor] = (),
    moved: Sequence[Tensor] = (),
) -> Lowered:
    """Makes the symbol that computes `targets`.

    Args:
        targets: its first outputs, in this order.
        inputs: name of an input of the symbol -> tensor of op `input`.
        layouts: variable name -> layout in memory.
        losses: the targets of which gradients are taken.
        moved: batch normalizations whose statistics are wanted.
    """
    builder = _Builder(layouts)
    return builder.build(targets, inputs, set(losses), set(moved))


class _Builder:
    def __init__(self, layouts: Mapping[str, str]) -> None:
        self._layouts = layouts
        self._logical: dict[Tensor, Value] = {}
        self._channels_first: dict[Tensor, Value] = {}
        self._statistics: dict[Tensor, tuple[Symbol, Symbol]] = {}
        self._vars: dict[str, Symbol] = {}
        self._made = Lowered(None)

    def build(
        self,
        targets: Sequence[Tensor],
        inputs: Mapping[str, Tensor],
        losses: set[Tensor],
        moved: set[Tensor],
    ) -> Lowered:
        for name, tensor in inputs.items():
            self._logical[tensor] = _value(sym.var(name), tensor)
        for tensor in ordered([*targets, *moved]):
            if tensor not in self._logical:
                self._lower(tensor)
        outputs = []
        for target in targets:
            symbol = self._as_logical(target).symbol
            if target.dtype == "bool":
                symbol = sym.Cast(symbol, dtype="bool")
            outputs.append(symbol if target in losses else sym.BlockGrad(symbol))
        for tensor in sorted(moved, key=lambda one: one.name):
            *_, mean, variance = tensor.inputs
            assert mean is not None and variance is not None
            x = _given(tensor.inputs[0])
            self._made.moved.append(
                Moved(mean.name, variance.name, tensor.attrs["decay"], x.shape[:-1])
            )
            outputs += [sym.BlockGrad(one) for one in self._statistics[tensor]]
        self._made.symbol = sym.Group(outputs) if outputs else None
        return self._made

    # ---- One operation -----------------------------------------------------------------------

    def _lower(self, tensor: Tensor) -> None:
        if isinstance(tensor, Variable):
            self._logical[tensor] = self._variable(tensor)
        elif tensor.op == "constant":
            self._logical[tensor] = self._constant(tensor)
        elif tensor.op == "batch_norm":
            self._batch_norm(tensor)
        elif tensor.op in CHANNELS_FIRST and tensor.rank == 4:
            self._image_operation(tensor)
        elif tensor.rank == 4 and self._keeps_channels_first(tensor):
            attrs = dict(tensor.attrs)
            if "axis" in attrs:
                attrs["axis"] = _TO_CHANNELS_FIRST[attrs["axis"]]
            values = [self._channels_first_operand(one) for one in tensor.inputs]
            self._keep_image(tensor, TABLE[tensor.op](*values, **attrs))
        elif tensor.op == "pad" and self._pads_image(tensor):
            image = self._as_channels_first(_given(tensor.inputs[0]))
            around = tensor.attrs["paddings"]
            width = (0, 0, 0, 0, *around[1], *around[2])
            padded = sym.Pad(
                image.symbol,
                mode="constant",
                constant_value=tensor.attrs["value"],
                pad_width=width,
            )
            self._keep_image(tensor, padded)
        elif tensor.op == "reduce_mean" and self._is_global(tensor):
            image = self._as_channels_first(_given(tensor.inputs[0])).symbol
            means = sym.Pooling(image, global_pool=True, pool_type="avg", kernel=(1, 1))
            if tensor.attrs["keepdims"]:
                self._keep_image(tensor, means)
            else:
                self._keep(tensor, sym.Flatten(means))
        elif tensor.op == "dense" and self._is_native(tensor.inputs[1], DENSE):
            x, weights, bias = tensor.inputs
            operands = [self._as_logical(_given(x)), self._native(_given(weights))]
            self._keep(
                tensor, dense(*operands, *([] if bias is None else [self._as_logical(bias)]))
            )
        else:
            values = [None if one is None else self._as_logical(one) for one in tensor.inputs]
            self._keep(tensor, TABLE[tensor.op](*values, **tensor.attrs))

    def _image_operation(self, tensor: Tensor) -> None:
        x, *others = tensor.inputs
        values = [self._as_channels_first(_given(x))]
        if tensor.op in ("conv2d", "depthwise_conv2d"):
            values.append(self._kernel(_given(others.pop(0)), tensor.op))
        values += [self._as_logical(one) for one in others if one is not None]
        self._keep_image(tensor, CHANNELS_FIRST[tensor.op](*values, **tensor.attrs))

    def _batch_norm(self, tensor: Tensor) -> None:
        first, gamma, beta, *averages = tensor.inputs
        image = tensor.rank == 4
        x = (self._as_channels_first if image else self._as_logical)(_given(first))
        channels = _given(first).shape[-1]
        assert channels is not None
        others = [
            self._filled(fill, channels, tensor.dtype) if one is None else self._as_logical(one)
            for one, fill in ((gamma, 1.0), (beta, 0.0))
        ]
        attrs = tensor.attrs
        keep = self._keep_image if image else self._keep
        if attrs["training"]:
            self._made.trains = True
            for what in ("mean", "variance"):
                name = f"{tensor.name}/unused_{what}"
                self._made.unused[name] = ((channels,), tensor.dtype)
                others.append(Value(sym.var(name), (channels,), tensor.dtype))
            made, *statistics = TRAINING_NORM(x, *others, epsilon=attrs["epsilon"])
            self._statistics[tensor] = (statistics[0], statistics[1])
            keep(tensor, made)
        else:
            others += [self._as_logical(_given(one)) for one in averages]
            keep(tensor, CHANNELS_FIRST["batch_norm"](x, *others, **attrs))

    def _keeps_channels_first(self, tensor: Tensor) -> bool:
        """Whether all operands are images in NCHW, or scalars."""
        if tensor.op not in ELEMENTWISE and tensor.op != "concat":
            return False
        images = [one for one in tensor.inputs if one is not None and one.rank]
        return bool(images) and all(one in self._channels_first for one in images)

    def _is_global(self, tensor: Tensor) -> bool:
        return _given(tensor.inputs[0]) in self._channels_first and tensor.attrs["axes"] == (1, 2)

    def _pads_image(self, tensor: Tensor) -> bool:
        around = tensor.attrs["paddings"]
        inside = tensor.rank == 4 and around[0] == around[3] == (0, 0)
        return inside and _given(tensor.inputs[0]).dtype in FLOATS

    # ---- Operands ----------------------------------------------------------------------------

    def _keep(self, tensor: Tensor, symbol: Symbol) -> None:
        self._logical[tensor] = _value(symbol, tensor)

    def _keep_image(self, tensor: Tensor, symbol: Symbol) -> None:
        batch, height, width, channels = tensor.shape
        self._channels_first[tensor] = Value(symbol, (batch, channels, height, width), tensor.dtype)

    def _constant(self, tensor: Tensor) -> Value:
        array = np.asarray(tensor.attrs["value"], native_dtype(tensor.dtype))
        name = tensor.name
        self._made.constants[name] = array.reshape(array.shape or (1,))
        number = None if array.shape else array.item()
        return Value(sym.var(name), array.shape, tensor.dtype, number)

    def _filled(self, fill: float, size: int, dtype: str) -> Value:
        name = f"{'ones' if fill else 'zeros'}_{size}_{dtype}"
        self._made.constants[name] = np.full(size, fill, dtype)
        return Value(self._var(name), (size,), dtype)

    def _variable(self, variable: Variable) -> Value:
        """The variable as the graph sees it."""
        native = self._native(variable)
        layout = self._layouts.get(variable.name, LOGICAL)
        if layout == CONV:
            return _value(sym.transpose(native.symbol, axes=(2, 3, 1, 0)), variable)
        if layout == DEPTHWISE:
            height, width, channels, multiplier = variable.shape
            apart = sym.Reshape(native.symbol, shape=(channels, multiplier, height, width))
            return _value(sym.transpose(apart, axes=(2, 3, 0, 1)), variable)
        if layout == DENSE:
            return _value(sym.transpose(native.symbol), variable)
        return native

    def _native(self, variable: Tensor) -> Value:
        """The variable as it lies in memory."""
        layout = self._layouts.get(variable.name, LOGICAL)
        shape = variable.shape
        if layout == CONV:
            shape = (shape[3], shape[2], *shape[:2])
        elif layout == DEPTHWISE:
            shape = ((shape[2] or 0) * (shape[3] or 0), 1, *shape[:2])
        elif layout == DENSE:
            shape = shape[::-1]
        return Value(self._var(variable.name), shape, variable.dtype)

    def _var(self, name: str) -> Symbol:
        if name not in self._vars:
            self._vars[name] = sym.var(name)
        return self._vars[name]

    def _is_native(self, weights: Tensor | None, layout: str) -> bool:
        return isinstance(weights, Variable) and self._layouts.get(weights.name) == layout

    def _kernel(self, weights: Tensor, op: str) -> Value:
        """The weights of a convolution as MXNet wants them."""
        if self._is_native(weights, CONV if op == "conv2d" else DEPTHWISE):
            return self._native(weights)
        return (kernel if op == "conv2d" else depthwise_kernel)(self._as_logical(weights))

    def _channels_first_operand(self, tensor: Tensor | None) -> Value:
        given = _given(tensor)
        return self._as_channels_first(given) if given.rank else self._as_logical(given)

    def _as_channels_first(self, tensor: Tensor) -> Value:
        if tensor not in self._channels_first:
            self._channels_first[tensor] = channels_first(self._logical[tensor])
        return self._channels_first[tensor]

    def _as_logical(self, tensor: Tensor) -> Value:
        if tensor not in self._logical:
            image = self._channels_first[tensor].symbol
            self._logical[tensor] = _value(sym.transpose(image, axes=(0, 2, 3, 1)), tensor)
        return self._logical[tensor]


def _value(symbol: Symbol, tensor: Tensor) -> Value:
    return Value(symbol, tensor.shape, tensor.dtype)


def _given(tensor: Tensor | None) -> Tensor:
    assert tensor is not None, "the operation's shape inference has checked it"
    return tensor
