"""LeNet, in the variant of TF-slim.

Source: LeCun et al., Gradient-based learning applied to document recognition, 1998.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from mox_core import nn
from mox_core.nets.network import EndPoints, Layer

__all__ = ["lenet"]


def lenet(
    images: nn.Tensor, num_classes: int, *, weight_decay: float, is_training: bool
) -> tuple[nn.Tensor, EndPoints]:
    """Two convolutions with pooling, two dense layers."""
    weights: dict[str, Any] = {
        "weights_initializer": nn.truncated_normal(0.1),
        "weights_regularizer": nn.l2_regularizer(weight_decay),
    }
    conv: Layer = partial(nn.conv2d, kernel_size=5, **weights)
    dense: Layer = partial(nn.fully_connected, **weights)
    ends: EndPoints = {}
    with nn.variable_scope("LeNet"):
        x = ends["conv1"] = conv(images, 32, scope="conv1")
        x = ends["pool1"] = nn.max_pool2d(x, 2)
        x = ends["conv2"] = conv(x, 64, scope="conv2")
        x = ends["pool2"] = nn.max_pool2d(x, 2)
        x = ends["Flatten"] = nn.flatten(x)
        x = ends["fc3"] = dense(x, 1024, scope="fc3")
        x = ends["dropout3"] = nn.dropout(x, 0.5, is_training=is_training)
        logits = ends["Logits"] = dense(x, num_classes, activation_fn=None, scope="fc4")
    ends["Predictions"] = nn.softmax(logits)
    return logits, ends
