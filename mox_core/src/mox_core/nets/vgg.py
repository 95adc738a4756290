"""VGG, with dense layers as convolutions, as TF-slim defines it.

Source: Simonyan and Zisserman, Very deep convolutional networks for large-scale image recognition,
2014.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from mox_core import nn
from mox_core.nets.network import EndPoints

__all__ = ["VGG_16", "vgg"]

VGG_16 = (2, 2, 3, 3, 3)
_FILTERS = (64, 128, 256, 512, 512)


def vgg(
    images: nn.Tensor,
    num_classes: int,
    *,
    weight_decay: float,
    is_training: bool,
    name: str,
    convolutions: Sequence[int],
) -> tuple[nn.Tensor, EndPoints]:
    """Five groups of 3x3 convolutions with pooling, three dense layers.

    Args:
        images: at least 193 x 193 pixels; logits are squeezed for images up to 255 pixels.
        num_classes: size of the last layer.
        weight_decay: factor of the L2 losses.
        is_training: whether to drop out.
        name: of the scope.
        convolutions: how many there are in each group.
    """
    conv = partial(nn.conv2d, weights_regularizer=nn.l2_regularizer(weight_decay))
    ends: EndPoints = {}
    x = images
    with nn.variable_scope(name):
        for group, (count, filters) in enumerate(zip(convolutions, _FILTERS, strict=True), 1):
            with nn.variable_scope(f"conv{group}"):
                for number in range(1, count + 1):
                    layer = f"conv{group}_{number}"
                    x = conv(x, filters, kernel_size=3, scope=layer)
                    ends[f"{name}/conv{group}/{layer}"] = x
            x = ends[f"{name}/pool{group}"] = nn.max_pool2d(x, 2)
        x = ends[f"{name}/fc6"] = conv(x, 4096, kernel_size=7, padding="VALID", scope="fc6")
        x = nn.dropout(x, 0.5, is_training=is_training)
        x = ends[f"{name}/fc7"] = conv(x, 4096, kernel_size=1, scope="fc7")
        x = nn.dropout(x, 0.5, is_training=is_training)
        x = conv(x, num_classes, kernel_size=1, activation_fn=None, scope="fc8")
        logits = ends[f"{name}/fc8"] = nn.squeeze(x, (1, 2))
    return logits, ends
