"""CifarNet, as TF-slim defines it."""

from __future__ import annotations

from functools import partial

from mox_core import nn
from mox_core.nets.network import EndPoints

__all__ = ["cifarnet"]


def cifarnet(
    images: nn.Tensor, num_classes: int, *, weight_decay: float, is_training: bool
) -> tuple[nn.Tensor, EndPoints]:
    """Two convolutions with local response normalization, three dense layers.

    Only the hidden dense layers are regularized.
    """
    conv = partial(nn.conv2d, kernel_size=5, weights_initializer=nn.truncated_normal(0.05))
    norm = partial(nn.lrn, depth_radius=4, bias=1.0, alpha=0.001 / 9.0, beta=0.75)
    dense = partial(
        nn.fully_connected,
        weights_initializer=nn.truncated_normal(0.04),
        weights_regularizer=nn.l2_regularizer(weight_decay),
        biases_initializer=nn.constant(0.1),
    )
    ends: EndPoints = {}
    with nn.variable_scope("CifarNet"):
        x = ends["conv1"] = conv(images, 64, scope="conv1")
        x = ends["pool1"] = nn.max_pool2d(x, 2)
        x = ends["conv2"] = conv(norm(x), 64, scope="conv2")
        x = ends["pool2"] = nn.max_pool2d(norm(x), 2)
        x = ends["Flatten"] = nn.flatten(x)
        x = ends["fc3"] = dense(x, 384, scope="fc3")
        x = nn.dropout(x, 0.5, is_training=is_training)
        x = ends["fc4"] = dense(x, 192, scope="fc4")
        logits = ends["Logits"] = nn.fully_connected(
            x,
            num_classes,
            activation_fn=None,
            weights_initializer=nn.truncated_normal(1 / 192),
            scope="logits",
        )
    ends["Predictions"] = nn.softmax(logits)
    return logits, ends
