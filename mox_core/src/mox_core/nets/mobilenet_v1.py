"""MobileNet version 1, with its width multiplier, as TF-slim defines it.

Source: Howard et al., MobileNets: efficient convolutional neural networks for mobile vision
applications, 2017.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from mox_core import nn
from mox_core.nets.network import EndPoints, Layer

__all__ = ["mobilenet_v1"]

# (stride, filters) of the separable convolutions.
_LAYERS = (
    (1, 64),
    (2, 128),
    (1, 128),
    (2, 256),
    (1, 256),
    (2, 512),
    *[(1, 512)] * 5,
    (2, 1024),
    (1, 1024),
)


def mobilenet_v1(
    images: nn.Tensor,
    num_classes: int,
    *,
    weight_decay: float,
    is_training: bool,
    multiplier: float = 1.0,
) -> tuple[nn.Tensor, EndPoints]:
    """A convolution, 13 separable ones, the mean over up to 7x7 pixels, a dense layer.

    Args:
        images: of any size; 224 x 224 pixels end in 7 x 7.
        num_classes: size of the last layer.
        weight_decay: factor of the L2 losses of all weights but the depthwise ones.
        is_training: whether to drop out and to normalize with the batch.
        multiplier: of the number of filters in every layer, which stays at least 8.
    """
    common: dict[str, Any] = {
        "weights_initializer": nn.truncated_normal(0.09),
        "activation_fn": nn.relu6,
        "normalizer_fn": nn.batch_norm,
        "normalizer_params": {
            "decay": 0.9997,
            "epsilon": 0.001,
            "scale": True,
            "is_training": is_training,
        },
    }
    regularizer = nn.l2_regularizer(weight_decay)
    conv: Layer = partial(nn.conv2d, **common, weights_regularizer=regularizer)
    depthwise: Layer = partial(nn.separable_conv2d, num_outputs=None, kernel_size=3, **common)
    ends: EndPoints = {}

    def filters(number: int) -> int:
        return max(int(number * multiplier), 8)

    with nn.variable_scope("MobilenetV1"):
        x = conv(images, filters(32), kernel_size=3, stride=2, scope="Conv2d_0")
        ends["Conv2d_0"] = x
        for number, (stride, outputs) in enumerate(_LAYERS, 1):
            scope = f"Conv2d_{number}_depthwise"
            x = ends[scope] = depthwise(x, stride=stride, scope=scope)
            scope = f"Conv2d_{number}_pointwise"
            x = ends[scope] = conv(x, filters(outputs), kernel_size=1, scope=scope)
        with nn.variable_scope("Logits"):
            window = tuple(min(size or 7, 7) for size in x.shape[1:3])
            x = ends["AvgPool_1a"] = nn.avg_pool2d(x, window)
            x = nn.dropout(x, 0.999, is_training=is_training)
            x = conv(
                x,
                num_classes,
                kernel_size=1,
                activation_fn=None,
                normalizer_fn=None,
                scope="Conv2d_1c_1x1",
            )
            logits = ends["Logits"] = nn.squeeze(x, (1, 2))
    ends["Predictions"] = nn.softmax(logits)
    return logits, ends
