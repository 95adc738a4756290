"""Inception version 3, as TF-slim defines it, with its auxiliary classifier.

Each mixed layer is a table: a branch is a list of layers, a layer is the kind or (name of its
scope, number of filters), and the size of its kernel stands at the end of the name. Some of the
names are irregular (a 3x3 convolution called `1x1`); public checkpoints have them so.

Source: Szegedy et al., Rethinking the Inception architecture for computer vision, CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from mox_core import nn
from mox_core.nets.network import EndPoints, Layer

__all__ = ["inception_v3"]


@dataclass(frozen=True)
class _Conv:
    """A convolution.

    Args:
        scope: its name.
        filters: how many.
        kernel: (height, width); None: as the end of the name says.
        reduce: stride 2 without padding.
    """

    scope: str
    filters: int
    kernel: tuple[int, int] | None = None
    reduce: bool = False

    def size(self) -> tuple[int, int]:
        height, width = self.kernel or map(int, self.scope.rpartition("_")[2].split("x"))
        return height, width


_AVERAGE, _MAXIMUM = "average", "maximum"
_Step = _Conv | str | tuple[_Conv, ...]


def _mixed_5(
    pool_filters: int, names: Sequence[str] = ("Conv2d_0a_1x1", "Conv2d_0b_5x5")
) -> list[list[_Step]]:
    first, second = names
    return [
        [_Conv("Conv2d_0a_1x1", 64)],
        [_Conv(first, 48), _Conv(second, 64)],
        [_Conv("Conv2d_0a_1x1", 64), _Conv("Conv2d_0b_3x3", 96), _Conv("Conv2d_0c_3x3", 96)],
        [_AVERAGE, _Conv("Conv2d_0b_1x1", pool_filters)],
    ]


def _mixed_6(filters: int) -> list[list[_Step]]:
    return [
        [_Conv("Conv2d_0a_1x1", 192)],
        [
            _Conv("Conv2d_0a_1x1", filters),
            _Conv("Conv2d_0b_1x7", filters),
            _Conv("Conv2d_0c_7x1", 192),
        ],
        [
            _Conv("Conv2d_0a_1x1", filters),
            _Conv("Conv2d_0b_7x1", filters),
            _Conv("Conv2d_0c_1x7", filters),
            _Conv("Conv2d_0d_7x1", filters),
            _Conv("Conv2d_0e_1x7", 192),
        ],
        [_AVERAGE, _Conv("Conv2d_0b_1x1", 192)],
    ]


def _mixed_7(upright: str) -> list[list[_Step]]:
    return [
        [_Conv("Conv2d_0a_1x1", 320)],
        [_Conv("Conv2d_0a_1x1", 384), (_Conv("Conv2d_0b_1x3", 384), _Conv(upright, 384))],
        [
            _Conv("Conv2d_0a_1x1", 448),
            _Conv("Conv2d_0b_3x3", 384),
            (_Conv("Conv2d_0c_1x3", 384), _Conv("Conv2d_0d_3x1", 384)),
        ],
        [_AVERAGE, _Conv("Conv2d_0b_1x1", 192)],
    ]


_MIXED: dict[str, list[list[_Step]]] = {
    "Mixed_5b": _mixed_5(32),
    "Mixed_5c": _mixed_5(64, ("Conv2d_0b_1x1", "Conv_1_0c_5x5")),
    "Mixed_5d": _mixed_5(64),
    "Mixed_6a": [
        [_Conv("Conv2d_1a_1x1", 384, (3, 3), reduce=True)],
        [
            _Conv("Conv2d_0a_1x1", 64),
            _Conv("Conv2d_0b_3x3", 96),
            _Conv("Conv2d_1a_1x1", 96, (3, 3), reduce=True),
        ],
        [_MAXIMUM],
    ],
    "Mixed_6b": _mixed_6(128),
    "Mixed_6c": _mixed_6(160),
    "Mixed_6d": _mixed_6(160),
    "Mixed_6e": _mixed_6(192),
    "Mixed_7a": [
        [_Conv("Conv2d_0a_1x1", 192), _Conv("Conv2d_1a_3x3", 320, reduce=True)],
        [
            _Conv("Conv2d_0a_1x1", 192),
            _Conv("Conv2d_0b_1x7", 192),
            _Conv("Conv2d_0c_7x1", 192),
            _Conv("Conv2d_1a_3x3", 192, reduce=True),
        ],
        [_MAXIMUM],
    ],
    "Mixed_7b": _mixed_7("Conv2d_0b_3x1"),
    "Mixed_7c": _mixed_7("Conv2d_0c_3x1"),
}


def inception_v3(
    images: nn.Tensor, num_classes: int, *, weight_decay: float, is_training: bool
) -> tuple[nn.Tensor, EndPoints]:
    """Convolutions, eleven mixed layers, the mean over up to 8x8 pixels, a dense layer.

    `AuxLogits` among the end points are the logits of the auxiliary classifier.

    Args:
        images: at least 139 x 139 pixels; logits are squeezed for images up to 362 pixels.
        num_classes: size of the last layers.
        weight_decay: factor of the L2 losses.
        is_training: whether to drop out and to normalize with the batch.
    """
    conv = partial(
        nn.conv2d,
        weights_initializer=nn.he_normal(),
        weights_regularizer=nn.l2_regularizer(weight_decay),
        normalizer_fn=nn.batch_norm,
        normalizer_params={"decay": 0.9997, "epsilon": 0.001, "is_training": is_training},
    )
    logits_layer = partial(conv, kernel_size=1, activation_fn=None, normalizer_fn=None)
    ends: EndPoints = {}
    with nn.variable_scope("InceptionV3"):
        x = _stem(images, conv, ends)
        for name, branches in _MIXED.items():
            with nn.variable_scope(name):
                x = ends[name] = nn.concat(
                    [
                        _branch(x, f"Branch_{number}", layers, conv)
                        for number, layers in enumerate(branches)
                    ]
                )
        with nn.variable_scope("AuxLogits"):
            aux = nn.avg_pool2d(ends["Mixed_6e"], 5, stride=3)
            aux = conv(aux, 128, kernel_size=1, scope="Conv2d_1b_1x1")
            height, width = (min(size or 5, 5) for size in aux.shape[1:3])
            aux = conv(
                aux,
                768,
                kernel_size=(height, width),
                padding="VALID",
                weights_initializer=nn.truncated_normal(0.01),
                scope=f"Conv2d_2a_{height}x{width}",
            )
            aux = logits_layer(
                aux,
                num_classes,
                weights_initializer=nn.truncated_normal(0.001),
                scope="Conv2d_2b_1x1",
            )
            ends["AuxLogits"] = nn.squeeze(aux, (1, 2))
        with nn.variable_scope("Logits"):
            x = nn.avg_pool2d(x, tuple(min(size or 8, 8) for size in x.shape[1:3]))
            x = ends["PreLogits"] = nn.dropout(x, 0.8, is_training=is_training)
            x = logits_layer(x, num_classes, scope="Conv2d_1c_1x1")
            logits = ends["Logits"] = nn.squeeze(x, (1, 2))
    ends["Predictions"] = nn.softmax(logits)
    return logits, ends


def _stem(images: nn.Tensor, conv: Layer, ends: EndPoints) -> nn.Tensor:
    valid = partial(conv, padding="VALID")
    x = valid(images, 32, kernel_size=3, stride=2, scope="Conv2d_1a_3x3")
    ends["Conv2d_1a_3x3"] = x
    x = ends["Conv2d_2a_3x3"] = valid(x, 32, kernel_size=3, scope="Conv2d_2a_3x3")
    x = ends["Conv2d_2b_3x3"] = conv(x, 64, kernel_size=3, scope="Conv2d_2b_3x3")
    x = ends["MaxPool_3a_3x3"] = nn.max_pool2d(x, 3)
    x = ends["Conv2d_3b_1x1"] = valid(x, 80, kernel_size=1, scope="Conv2d_3b_1x1")
    x = ends["Conv2d_4a_3x3"] = valid(x, 192, kernel_size=3, scope="Conv2d_4a_3x3")
    x = ends["MaxPool_5a_3x3"] = nn.max_pool2d(x, 3)
    return x


def _branch(x: nn.Tensor, scope: str, layers: list[_Step], conv: Layer) -> nn.Tensor:
    def apply(x: nn.Tensor, layer: _Conv) -> nn.Tensor:
        placed = {"stride": 2, "padding": "VALID"} if layer.reduce else {}
        return conv(x, layer.filters, kernel_size=layer.size(), scope=layer.scope, **placed)

    with nn.variable_scope(scope):
        for layer in layers:
            if layer == _AVERAGE:
                x = nn.avg_pool2d(x, 3, stride=1, padding="SAME")
            elif layer == _MAXIMUM:
                x = nn.max_pool2d(x, 3)
            elif isinstance(layer, tuple):
                x = nn.concat([apply(x, one) for one in layer])
            elif isinstance(layer, _Conv):
                x = apply(x, layer)
    return x
