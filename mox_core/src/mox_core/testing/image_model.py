"""A small network with every kind of image operation, for tests of an engine's own."""

from __future__ import annotations

from typing import Any

import numpy as np

from mox_core import nn
from mox_core.spec import ExportSpec, Mode, ModeKeys, ModelSpec
from mox_core.testing.nn_reference import Array

__all__ = ["image_batches", "image_model", "images_and_labels"]


def images_and_labels(count: int, *, size: int = 9, seed: int = 0) -> tuple[Array, Array]:
    """Images of three classes that can be told apart.

    Returns:
        float32 [count, size, size, 2] and int64 [count].
    """
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    images = random.normal(size=(count, size, size, 2)).astype(np.float32)
    images[..., 0] += labels[:, None, None]
    return images, labels


def image_batches(count: int, *, batch: int = 8) -> list[tuple[Array, Array]]:
    """Batches of them."""
    return [images_and_labels(batch, seed=seed) for seed in range(count)]


def image_model(inputs: Any, mode: Mode) -> ModelSpec:
    """A neutral model_fn whose operations also leave the layout of images, and come back."""
    images, labels = inputs
    x = nn.conv2d(
        images,
        8,
        kernel_size=3,
        stride=2,
        normalizer_fn=nn.batch_norm,
        normalizer_params={"decay": 0.8},
        scope="conv1",
    )
    x = nn.lrn(x)
    y = nn.separable_conv2d(x, 8, kernel_size=3, depth_multiplier=2, scope="separable")
    x = nn.concat([x + y, nn.max_pool2d(x, 3, stride=1, padding="SAME")], axis=3)
    x = nn.avg_pool2d(x, 2, padding="SAME")
    x = nn.pad(x, [(0, 0), (1, 0), (0, 1), (0, 0)])
    x = x * nn.sigmoid(nn.reduce_mean(x, axes=(1, 2), keepdims=True))
    x = nn.flatten(nn.max_pool2d(x, 2, padding="SAME"))
    logits = nn.fully_connected(x, 3, activation_fn=None, scope="logits")
    loss = nn.sparse_softmax_cross_entropy(logits, labels)
    info = {"loss": loss, "accuracy": nn.accuracy(logits, labels)}
    export = ExportSpec({"images": images}, {"logits": logits}) if mode == ModeKeys.EXPORT else None
    return ModelSpec(
        loss=loss, log_info=info, output_info={"logits": logits, **info}, export_spec=export
    )
