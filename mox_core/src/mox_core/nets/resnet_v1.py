"""ResNet with bottlenecks, version 1, as TF-slim defines it: strides in the last unit of a block.

Source: He et al., Deep residual learning for image recognition, CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from mox_core import nn
from mox_core.nets.network import EndPoints

__all__ = ["RESNET_50", "resnet_v1"]

RESNET_50 = (3, 4, 6, 3)


def resnet_v1(
    images: nn.Tensor,
    num_classes: int,
    *,
    weight_decay: float,
    is_training: bool,
    name: str,
    units: Sequence[int],
) -> tuple[nn.Tensor, EndPoints]:
    """A convolution, four blocks of bottleneck units, the mean over all pixels, a dense layer.

    Args:
        images: of any size; 224 x 224 pixels end in 7 x 7.
        num_classes: size of the last layer.
        weight_decay: factor of the L2 losses.
        is_training: whether to normalize with the batch.
        name: of the scope.
        units: how many there are in each block.
    """
    conv = partial(
        nn.conv2d,
        weights_initializer=nn.he_normal(),
        weights_regularizer=nn.l2_regularizer(weight_decay),
        normalizer_fn=nn.batch_norm,
        normalizer_params={
            "decay": 0.997,
            "epsilon": 1e-5,
            "scale": True,
            "is_training": is_training,
        },
    )
    ends: EndPoints = {}

    def unit(x: nn.Tensor, depth: int, stride: int, scope: str) -> nn.Tensor:
        with nn.variable_scope(f"{scope}/bottleneck_v1") as here:
            if x.shape[-1] == 4 * depth:
                shortcut = x if stride == 1 else nn.max_pool2d(x, 1, stride=stride, padding="SAME")
            else:
                shortcut = conv(
                    x, 4 * depth, kernel_size=1, stride=stride, activation_fn=None, scope="shortcut"
                )
                ends[f"{here}/shortcut"] = shortcut
            x = ends[f"{here}/conv1"] = conv(x, depth, kernel_size=1, scope="conv1")
            x = conv(
                x, depth, kernel_size=3, stride=stride, padding=_around(3, stride), scope="conv2"
            )
            ends[f"{here}/conv2"] = x
            x = conv(x, 4 * depth, kernel_size=1, activation_fn=None, scope="conv3")
            ends[f"{here}/conv3"] = x
            x = ends[here] = nn.relu(shortcut + x)
        return x

    with nn.variable_scope(name):
        x = conv(images, 64, kernel_size=7, stride=2, padding=_around(7, 2), scope="conv1")
        ends[f"{name}/conv1"] = x
        x = nn.max_pool2d(x, 3, stride=2, padding="SAME")
        for block, count in enumerate(units, 1):
            for number in range(1, count + 1):
                last = number == count and block < len(units)
                scope = f"block{block}/unit_{number}"
                x = unit(x, 32 << block, 2 if last else 1, scope)
            ends[f"{name}/block{block}"] = x
        x = ends["global_pool"] = nn.global_avg_pool(x)
        x = conv(
            x,
            num_classes,
            kernel_size=1,
            activation_fn=None,
            normalizer_fn=None,
            scope="logits",
        )
        ends[f"{name}/logits"] = x
        logits = ends[f"{name}/spatial_squeeze"] = nn.squeeze(x, (1, 2))
    ends["predictions"] = nn.softmax(logits)
    return logits, ends


def _around(kernel: int, stride: int) -> str | tuple[tuple[int, int], tuple[int, int]]:
    """Padding by half the kernel on all sides, also where SAME would put less on top and left."""
    half = (kernel - 1) // 2
    return "SAME" if stride == 1 else ((half, half), (half, half))
