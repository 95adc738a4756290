"""The networks of the engines' benchmarks, over `mox.nn`."""

from __future__ import annotations

from mox_core import nn


def softmax_over_nn(x):
    return nn.fully_connected(x, 10, activation_fn=None)


def lenet_over_nn(x):
    x = nn.max_pool2d(nn.conv2d(x, 32, kernel_size=5), 2)
    x = nn.max_pool2d(nn.conv2d(x, 64, kernel_size=5), 2)
    x = nn.fully_connected(nn.flatten(x), 512)
    return nn.fully_connected(x, 10, activation_fn=None)


def resnet18_over_nn(x):
    def conv(x, outputs, size, stride, relu=True):
        pad = size // 2
        return nn.conv2d(
            x,
            outputs,
            kernel_size=size,
            stride=stride,
            padding=((pad, pad), (pad, pad)),
            activation_fn=nn.relu if relu else None,
            normalizer_fn=nn.batch_norm,
            normalizer_params={"scale": True},
        )

    x = conv(x, 64, 7, 2)
    x = nn.max_pool2d(x, 3, stride=2, padding=((1, 1), (1, 1)))
    width = 64
    for outputs in (64, 64, 128, 128, 256, 256, 512, 512):
        stride = 1 if outputs == width else 2
        y = conv(conv(x, outputs, 3, stride), outputs, 3, 1, relu=False)
        x = nn.relu(y + (x if stride == 1 else conv(x, outputs, 1, stride, relu=False)))
        width = outputs
    x = nn.reduce_mean(x, axes=(1, 2))
    return nn.fully_connected(x, 10, activation_fn=None)
