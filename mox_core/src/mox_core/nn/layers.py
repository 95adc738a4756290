"""Layers: operations with variables of their own, named as TF-slim names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mox_core.nn import ops
from mox_core.nn.graph import (
    Collections,
    active_graph,
    add_to_collection,
    variable_scope,
)
from mox_core.nn.initializers import Initializer, ones, xavier, zeros
from mox_core.nn.regularizers import Regularizer
from mox_core.nn.shapes import Misfit, pair
from mox_core.nn.tensor import Tensor, Variable

__all__ = [
    "avg_pool2d",
    "batch_norm",
    "conv2d",
    "dropout",
    "fully_connected",
    "get_variable",
    "global_avg_pool",
    "max_pool2d",
    "separable_conv2d",
]

Function = Callable[[Tensor], Tensor]
Normalizer = Callable[..., Tensor]


def get_variable(
    name: str,
    shape: Sequence[int],
    *,
    dtype: str = "float32",
    initializer: Initializer | None = None,
    regularizer: Regularizer | None = None,
    trainable: bool = True,
    collections: Sequence[str] = (),
) -> Variable:
    """Makes a variable in the scope that is open, or finds it in a scope with reuse.

    Args:
        name: behind the scope's name.
        shape: sizes, all known.
        dtype: a floating-point one, as a rule.
        initializer: its first value; None: Glorot and Bengio's uniform one.
        regularizer: its loss goes into `Collections.REGULARIZATION_LOSSES`.
        trainable: whether optimizers update it.
        collections: further collections to put it into.

    Raises:
        SpecError: it exists already, or does not exist where it is to be reused.
    """
    graph = active_graph("get_variable")
    if not all(type(size) is int and size > 0 for size in shape):
        raise graph.error("get_variable", Misfit(f"positive sizes for {name!r}", tuple(shape)))
    variable, new = graph.variable(
        name,
        tuple(shape),
        dtype,
        initializer=initializer if initializer is not None else xavier(),
        trainable=trainable,
        collections=collections,
    )
    if new and regularizer is not None:
        add_to_collection(Collections.REGULARIZATION_LOSSES, regularizer(variable))
    return variable


def conv2d(
    inputs: Any,
    num_outputs: int,
    *,
    kernel_size: Any,
    stride: Any = 1,
    padding: Any = "SAME",
    rate: Any = 1,
    groups: int = 1,
    activation_fn: Function | None = ops.relu,
    normalizer_fn: Normalizer | None = None,
    normalizer_params: Mapping[str, Any] | None = None,
    weights_initializer: Initializer | None = None,
    weights_regularizer: Regularizer | None = None,
    biases_initializer: Initializer | None = zeros,
    biases_regularizer: Regularizer | None = None,
    scope: str | None = None,
    reuse: bool | None = None,
) -> Tensor:
    """A convolution over images, with bias or normalizer, and an activation.

    Variables: `weights` [height, width, channels / groups, num_outputs] and, without a normalizer,
    `biases`.

    Args:
        inputs: images [batch, height, width, channels].
        num_outputs: number of filters.
        kernel_size: number or (height, width).
        stride: number or (height, width).
        padding: `"SAME"`, `"VALID"`, or ((top, bottom), (left, right)).
        rate: dilation of the filters.
        groups: how many groups of channels are convolved on their own.
        activation_fn: None for none.
        normalizer_fn: such as `nn.batch_norm`; takes the place of the bias.
        normalizer_params: its keyword arguments.
        weights_initializer: None: Glorot and Bengio's.
        weights_regularizer: such as `nn.l2_regularizer(1e-4)`.
        biases_initializer: None for no bias.
        biases_regularizer: of the bias.
        scope: its name; None: `Conv`, `Conv_1`, ...
        reuse: True: shares the variables that the scope has already.

    Returns:
        [batch, height, width, num_outputs]
    """
    graph = active_graph("conv2d")
    with variable_scope(scope, default_name="Conv", reuse=reuse):
        x = _image_batch(inputs, "conv2d")
        weights = get_variable(
            "weights",
            (*_kernel(kernel_size, "conv2d"), x.shape[-1] // max(groups, 1), num_outputs),
            dtype=x.dtype,
            initializer=weights_initializer,
            regularizer=weights_regularizer,
            collections=[Collections.MODEL_VARIABLES],
        )
        bias = _bias(num_outputs, x.dtype, normalizer_fn, biases_initializer, biases_regularizer)
        attrs = {"strides": stride, "padding": padding, "dilations": rate, "groups": groups}
        x = graph.add("conv2d", (x, weights, bias), attrs)
        return _finish(x, normalizer_fn, normalizer_params, activation_fn)


def separable_conv2d(
    inputs: Any,
    num_outputs: int | None,
    *,
    kernel_size: Any,
    depth_multiplier: int = 1,
    stride: Any = 1,
    padding: Any = "SAME",
    rate: Any = 1,
    activation_fn: Function | None = ops.relu,
    normalizer_fn: Normalizer | None = None,
    normalizer_params: Mapping[str, Any] | None = None,
    weights_initializer: Initializer | None = None,
    pointwise_initializer: Initializer | None = None,
    weights_regularizer: Regularizer | None = None,
    biases_initializer: Initializer | None = zeros,
    biases_regularizer: Regularizer | None = None,
    scope: str | None = None,
    reuse: bool | None = None,
) -> Tensor:
    """A convolution of each channel on its own, then one of 1x1 pixels over all.

    Variables: `depthwise_weights` [height, width, channels, depth_multiplier],
    `pointwise_weights` [1, 1, channels * depth_multiplier, num_outputs] and, without a
    normalizer, `biases`.

    Args:
        inputs: images [batch, height, width, channels].
        num_outputs: number of filters; None: only the first half, on each channel.
        kernel_size: number or (height, width).
        depth_multiplier: outputs per channel of the first half.
        stride: of the first half.
        padding: of the first half, as in `conv2d`.
        rate: dilation of the first half.
        activation_fn: None for none.
        normalizer_fn: takes the place of the bias.
        normalizer_params: its keyword arguments.
        weights_initializer: None: Glorot and Bengio's.
        pointwise_initializer: None: the same as `weights_initializer`.
        weights_regularizer: of both weights.
        biases_initializer: None for no bias.
        biases_regularizer: of the bias.
        scope: its name; None: `SeparableConv2d`, ...
        reuse: True: shares the variables that the scope has already.
    """
    graph = active_graph("separable_conv2d")
    with variable_scope(scope, default_name="SeparableConv2d", reuse=reuse):
        x = _image_batch(inputs, "separable_conv2d")
        channels = x.shape[-1]
        depthwise = get_variable(
            "depthwise_weights",
            (*_kernel(kernel_size, "separable_conv2d"), channels, depth_multiplier),
            dtype=x.dtype,
            initializer=weights_initializer,
            regularizer=weights_regularizer,
            collections=[Collections.MODEL_VARIABLES],
        )
        attrs = {"strides": stride, "padding": padding, "dilations": rate}
        outputs = channels * depth_multiplier if num_outputs is None else num_outputs
        if num_outputs is None:
            bias = _bias(outputs, x.dtype, normalizer_fn, biases_initializer, biases_regularizer)
            x = graph.add("depthwise_conv2d", (x, depthwise, bias), attrs)
        else:
            pointwise = get_variable(
                "pointwise_weights",
                (1, 1, channels * depth_multiplier, outputs),
                dtype=x.dtype,
                initializer=pointwise_initializer or weights_initializer,
                regularizer=weights_regularizer,
                collections=[Collections.MODEL_VARIABLES],
            )
            bias = _bias(outputs, x.dtype, normalizer_fn, biases_initializer, biases_regularizer)
            x = graph.add("depthwise_conv2d", (x, depthwise, None), attrs)
            whole = {"strides": 1, "padding": "VALID", "dilations": 1, "groups": 1}
            x = graph.add("conv2d", (x, pointwise, bias), whole)
        return _finish(x, normalizer_fn, normalizer_params, activation_fn)


def fully_connected(
    inputs: Any,
    num_outputs: int,
    *,
    activation_fn: Function | None = ops.relu,
    normalizer_fn: Normalizer | None = None,
    normalizer_params: Mapping[str, Any] | None = None,
    weights_initializer: Initializer | None = None,
    weights_regularizer: Regularizer | None = None,
    biases_initializer: Initializer | None = zeros,
    biases_regularizer: Regularizer | None = None,
    scope: str | None = None,
    reuse: bool | None = None,
) -> Tensor:
    """A dense layer over the last dimension.

    Variables: `weights` [inputs, num_outputs] and, without a normalizer, `biases`.

    Args:
        inputs: [batch, ..., inputs].
        num_outputs: number of units.
        activation_fn: None for none.
        normalizer_fn: takes the place of the bias.
        normalizer_params: its keyword arguments.
        weights_initializer: None: Glorot and Bengio's.
        weights_regularizer: of the weights.
        biases_initializer: None for no bias.
        biases_regularizer: of the bias.
        scope: its name; None: `fully_connected`, ...
        reuse: True: shares the variables that the scope has already.
    """
    graph = active_graph("fully_connected")
    with variable_scope(scope, default_name="fully_connected", reuse=reuse):
        x = ops.as_tensor(inputs, "fully_connected")
        if x.rank < 2:
            misfit = Misfit("a batch of rows [batch, units]", f"shape {x.shape}")
            raise graph.error("fully_connected", misfit)
        weights = get_variable(
            "weights",
            (x.shape[-1] or 0, num_outputs),
            dtype=x.dtype,
            initializer=weights_initializer,
            regularizer=weights_regularizer,
            collections=[Collections.MODEL_VARIABLES],
        )
        bias = _bias(num_outputs, x.dtype, normalizer_fn, biases_initializer, biases_regularizer)
        x = graph.add("dense", (x, weights, bias))
        return _finish(x, normalizer_fn, normalizer_params, activation_fn)


def batch_norm(
    inputs: Any,
    *,
    decay: float = 0.999,
    center: bool = True,
    scale: bool = False,
    epsilon: float = 0.001,
    activation_fn: Function | None = None,
    is_training: bool | None = None,
    trainable: bool = True,
    scope: str | None = None,
    reuse: bool | None = None,
) -> Tensor:
    """Batch normalization over all dimensions but the last.

    While training it uses the mean and (biased) variance of the batch; a step moves the averages:
    `moving = decay * moving + (1 - decay) * batch`, with the unbiased variance (n / (n - 1)), as
    TensorFlow's fused operation and PyTorch do. With several towers the first one's batch counts.

    Variables: `beta`, `gamma`, `moving_mean`, `moving_variance`.

    Args:
        inputs: [batch, ..., channels].
        decay: of the moving averages.
        center: whether to add `beta`.
        scale: whether to multiply with `gamma`.
        epsilon: added to the variance.
        activation_fn: None for none.
        is_training: None: as `nn.is_training()`.
        trainable: whether `beta` and `gamma` are trained.
        scope: its name; None: `BatchNorm`, ...
        reuse: True: shares the variables that the scope has already.

    Source: Ioffe and Szegedy, Batch normalization, ICML 2015.
    """
    graph = active_graph("batch_norm")
    training = graph.mode == "TRAIN" if is_training is None else bool(is_training)
    with variable_scope(scope, default_name="BatchNorm", reuse=reuse):
        x = ops.as_tensor(inputs, "batch_norm")
        if x.rank < 2:
            misfit = Misfit("a batch with channels in the last dimension", f"shape {x.shape}")
            raise graph.error("batch_norm", misfit)

        def statistic(name: str, initializer: Initializer, trained: bool) -> Variable:
            return get_variable(
                name,
                (x.shape[-1] or 0,),
                dtype=x.dtype,
                initializer=initializer,
                trainable=trained,
                collections=[Collections.MODEL_VARIABLES],
            )

        beta = statistic("beta", zeros, trainable) if center else None
        gamma = statistic("gamma", ones, trainable) if scale else None
        mean = statistic("moving_mean", zeros, False)
        variance = statistic("moving_variance", ones, False)
        attrs = {"training": training, "epsilon": epsilon, "decay": decay}
        x = graph.add("batch_norm", (x, gamma, beta, mean, variance), attrs)
        return activation_fn(x) if activation_fn is not None else x


def max_pool2d(inputs: Any, kernel_size: Any, *, stride: Any = 2, padding: Any = "VALID") -> Tensor:
    """The maximum in a sliding window over images.

    Args:
        inputs: images [batch, height, width, channels].
        kernel_size: number or (height, width).
        stride: number or (height, width).
        padding: `"SAME"`, `"VALID"`, or ((top, bottom), (left, right)).
    """
    return _pool("max_pool", inputs, kernel_size, stride, padding)


def avg_pool2d(inputs: Any, kernel_size: Any, *, stride: Any = 2, padding: Any = "VALID") -> Tensor:
    """The mean of the pixels of the image (not of the padding) in a sliding window.

    Args:
        inputs: images [batch, height, width, channels].
        kernel_size: number or (height, width).
        stride: number or (height, width).
        padding: `"SAME"`, `"VALID"`, or ((top, bottom), (left, right)).
    """
    return _pool("avg_pool", inputs, kernel_size, stride, padding)


def global_avg_pool(inputs: Any, *, keepdims: bool = True) -> Tensor:
    """The mean over height and width of images."""
    return ops.reduce_mean(inputs, (1, 2), keepdims=keepdims)


def dropout(inputs: Any, keep_prob: float = 0.5, *, is_training: bool | None = None) -> Tensor:
    """Sets values to 0 at random and divides the others by `keep_prob`; only while training.

    Args:
        inputs: any floats.
        keep_prob: the probability that a value stays.
        is_training: None: as `nn.is_training()`.
    """
    graph = active_graph("dropout")
    x = ops.as_tensor(inputs, "dropout")
    training = graph.mode == "TRAIN" if is_training is None else bool(is_training)
    if not training or keep_prob == 1:
        return ops.identity(x)
    return graph.add("dropout", (x,), {"keep_prob": keep_prob})


def _pool(op: str, inputs: Any, kernel_size: Any, stride: Any, padding: Any) -> Tensor:
    attrs = {"kernel_size": kernel_size, "strides": stride, "padding": padding}
    return active_graph(op).add(op, (ops.as_tensor(inputs, op),), attrs)


def _image_batch(inputs: Any, op: str) -> Any:
    x = ops.as_tensor(inputs, op)
    if x.rank != 4:
        raise active_graph(op).error(
            op,
            Misfit(
                "an image batch [batch, height, width, channels]",
                f"shape {x.shape}",
                "Reshape it first: nn.reshape(x, (-1, height, width, channels)).",
            ),
        )
    return x


def _kernel(kernel_size: Any, op: str) -> tuple[int, int]:
    try:
        return pair(kernel_size, "kernel_size")
    except Misfit as misfit:
        raise active_graph(op).error(op, misfit) from None


def _bias(
    outputs: int,
    dtype: str,
    normalizer_fn: Normalizer | None,
    initializer: Initializer | None,
    regularizer: Regularizer | None,
) -> Variable | None:
    if normalizer_fn is not None or initializer is None:
        return None
    return get_variable(
        "biases",
        (outputs,),
        dtype=dtype,
        initializer=initializer,
        regularizer=regularizer,
        collections=[Collections.MODEL_VARIABLES],
    )


def _finish(
    x: Tensor,
    normalizer_fn: Normalizer | None,
    normalizer_params: Mapping[str, Any] | None,
    activation_fn: Function | None,
) -> Tensor:
    if normalizer_fn is not None:
        x = normalizer_fn(x, **(normalizer_params or {}))
    return activation_fn(x) if activation_fn is not None else x
