"""The networks by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mox_core import nn
from mox_core.errors import SpecError
from mox_core.nets.cifarnet import cifarnet
from mox_core.nets.inception_v3 import inception_v3
from mox_core.nets.keys import NETWORK_NAMES
from mox_core.nets.lenet import lenet
from mox_core.nets.mobilenet_v1 import mobilenet_v1
from mox_core.nets.network import EndPoints, Network
from mox_core.nets.resnet_v1 import RESNET_50, resnet_v1
from mox_core.nets.vgg import VGG_16, vgg
from mox_core.spec import ModeKeys

__all__ = [
    "NETWORKS",
    "ModelMeta",
    "default_preprocess_fn",
    "get_model_fn",
    "get_model_meta",
    "get_network",
]


def _mobilenet(multiplier: float) -> Network:
    return Network(
        mobilenet_v1,
        default_logits_pattern="Logits",
        default_num_classes=1001,
        options={"multiplier": multiplier},
    )


NETWORKS: Mapping[str, Network] = {
    "cifarnet": Network(cifarnet, default_image_size=32, default_num_classes=10),
    "inception_v3": Network(
        inception_v3,
        default_image_size=299,
        default_logits_pattern="Logits",
        default_num_classes=1001,
    ),
    "lenet": Network(
        lenet,
        default_image_size=28,
        default_logits_pattern="fc4",
        default_num_classes=10,
        default_channels=1,
    ),
    "mobilenet_v1": _mobilenet(1.0),
    "mobilenet_v1_075": _mobilenet(0.75),
    "mobilenet_v1_050": _mobilenet(0.5),
    "mobilenet_v1_025": _mobilenet(0.25),
    "resnet_v1_50": Network(
        resnet_v1,
        default_labels_offset=1,
        options={"name": "resnet_v1_50", "units": RESNET_50},
    ),
    "vgg_16": Network(
        vgg,
        default_labels_offset=1,
        default_logits_pattern="fc8",
        options={"name": "vgg_16", "convolutions": VGG_16},
    ),
}
"""Those that can be built; `NETWORK_NAMES` has all that are planned."""


@dataclass(frozen=True)
class ModelMeta:
    """What `get_model_meta` returns.

    Args:
        default_image_size: height and width of the images.
        default_labels_offset: what to subtract from the labels of ImageNet with 1001 classes.
        default_logits_pattern: finds the variables of the last layer.
    """

    default_image_size: int
    default_labels_offset: int
    default_logits_pattern: str


def get_network(name: str) -> Network:
    """Returns a network of the zoo.

    Raises:
        SpecError: there is none of this name, or it is not built yet; a ValueError too.
    """
    if name in NETWORKS:
        return NETWORKS[name]
    if name in NETWORK_NAMES:
        raise SpecError(
            f"network {name!r} is planned, but this version of mox does not have it.\n"
            f"  It has: {', '.join(NETWORKS)}."
        )
    from mox_core.plugins.suggest import did_you_mean

    advice = did_you_mean(str(name), list(NETWORK_NAMES))
    raise SpecError(f"unknown network {name!r}.{advice}\n  Known: {', '.join(NETWORKS)}.")


def get_model_meta(name: str) -> ModelMeta:
    """Returns what is known about a network (manual 004, section 2).

    Raises:
        SpecError: there is none of this name, or it is not built yet.
    """
    network = get_network(name)
    return ModelMeta(
        network.default_image_size, network.default_labels_offset, network.default_logits_pattern
    )


def default_preprocess_fn(images: Any, *, height: int | None, width: int | None) -> Any:
    """Converts images to float32 and resizes them, where they are not so already."""
    x = nn.as_tensor(images)
    if x.dtype == "uint8":
        x = nn.cast(x, "float32")
    size = (height or x.shape[1], width or x.shape[2])
    return x if size == x.shape[1:3] else nn.resize_bilinear(x, size)


def get_model_fn(
    name: str,
    run_mode: str,
    num_classes: int,
    weight_decay: float = 0.0,
    data_format: str = "NHWC",
    batch_norm_fused: bool = False,
    batch_renorm: bool = False,
    image_height: int | None = None,
    image_width: int | None = None,
    preprocess_fn: Callable[[Any], Any] | str | None = "default",
) -> Callable[[Any], tuple[nn.Tensor, EndPoints]]:
    """Returns a network of the zoo as a function of images (manual 004, section 2).

        logits, end_points = mox.get_model_fn("resnet_v1_50", mode, num_classes=1000)(images)

    Args:
        name: one of `NetworkKeys`.
        run_mode: TRAIN drops out and normalizes with the batch.
        num_classes: size of the last layer.
        weight_decay: factor of the L2 losses, which are in `Collections.REGULARIZATION_LOSSES`.
        data_format: `NHWC` or `NCHW`; images are NHWC in either case, and the engine computes in
            the layout that suits it.
        batch_norm_fused: accepted; results are the same.
        batch_renorm: not available yet.
        image_height: images are resized to it; None: as they are.
        image_width: images are resized to it; None: as they are.
        preprocess_fn: images -> images, before the network; default: float32 and the size above;
            None: nothing.

    Raises:
        SpecError: the network is not known or not built yet, or an argument does not fit.
    """
    network = get_network(name)
    mode = ModeKeys.EXPORT if run_mode == ModeKeys.EXPORT else ModeKeys.parse(run_mode)
    if batch_renorm:
        raise SpecError("batch_renorm=True is not available in this version of mox.")
    if data_format not in ("NHWC", "NCHW"):
        raise SpecError(f"data_format is {data_format!r}; use 'NHWC' or 'NCHW'.")
    if type(num_classes) is not int or num_classes < 1:
        raise SpecError(f"num_classes is {num_classes!r}; it has to be a whole number above 0.")

    def network_fn(images: Any) -> tuple[nn.Tensor, EndPoints]:
        if preprocess_fn == "default":
            images = default_preprocess_fn(images, height=image_height, width=image_width)
        elif callable(preprocess_fn):
            images = preprocess_fn(images)
        return network.build(
            images,
            num_classes,
            weight_decay=weight_decay,
            is_training=mode == ModeKeys.TRAIN,
            **network.options,
        )

    return network_fn
