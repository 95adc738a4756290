"""Network: what is known about a network of the zoo."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mox_core.nn import Tensor

__all__ = ["EndPoints", "Layer", "Network"]

EndPoints = dict[str, Tensor]
"""Name, as TF-slim has it -> tensor."""

Layer = Callable[..., Tensor]
"""A layer of `mox_core.nn` with some of its arguments given."""


@dataclass(frozen=True)
class Network:
    """A network of the zoo.

    Args:
        build: builds it.
        default_image_size: height and width of the images that it was designed for.
        default_labels_offset: what to subtract from the labels of ImageNet with 1001 classes.
        default_logits_pattern: finds the variables of the last layer, for
            `checkpoint_exclude_patterns`.
        default_num_classes: of its public checkpoints.
        default_channels: of the images.
        options: keyword arguments for `build`.
    """

    build: Callable[..., tuple[Tensor, EndPoints]]
    default_image_size: int = 224
    default_labels_offset: int = 0
    default_logits_pattern: str = "logits"
    default_num_classes: int = 1000
    default_channels: int = 3
    options: Mapping[str, Any] = field(default_factory=dict)
