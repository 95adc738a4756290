"""The names that preprocessing is asked for by (manual 004, PreprocessingKeys)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["PREPROCESSING", "Preprocessing", "PreprocessingKeys"]


@dataclass(frozen=True)
class Preprocessing:
    """What a name stands for.

    Args:
        family: one of `vgg`, `inception`, `cifarnet`, `lenet`, `pvanet`.
        size: height and width where none are given: those of the network's public checkpoint.
    """

    family: str
    size: int


def _table() -> dict[str, Preprocessing]:
    sizes = {
        "vgg": {
            224: "alexnet_v2 resnet_v1_18 resnet_v1_50 resnet_v1_50_8k resnet_v1_101 resnet_v1_152 "
            "resnet_v1_200 resnet_v2_50 resnet_v2_101 resnet_v2_152 resnet_v2_200 resnext_b_50 "
            "resnext_b_101 resnext_c_50 resnext_c_101 vgg vgg_a vgg_16 vgg_19 vgg_a_bn vgg_16_bn "
            "vgg_19_bn",
            231: "overfeat",
        },
        "inception": {
            224: "inception_v1 inception_v2 mobilenet_v1 mobilenet_v1_075 mobilenet_v1_050 "
            "mobilenet_v1_025 mobilenet_v2 mobilenet_v2_140 mobilenet_v2_035 nasnet_mobile "
            "pnasnet_mobile",
            299: "inception inception_v3 inception_v4 inception_resnet_v2",
            331: "nasnet_large pnasnet_large",
        },
        "cifarnet": {32: "cifarnet resnet_v1_20 resnet_v1_110 nasnet_cifar"},
        "lenet": {28: "lenet"},
        "pvanet": {192: "pvanet"},
    }
    return {
        name: Preprocessing(family, size)
        for family, names in sizes.items()
        for size, listed in names.items()
        for name in listed.split()
    }


PREPROCESSING: Mapping[str, Preprocessing] = _table()
"""Name, as a network's -> what it stands for."""


class PreprocessingKeys:
    """Every name as a constant: `PreprocessingKeys.RESNET_V1_50 == 'resnet_v1_50'`."""

    ALEXNET_V2 = "alexnet_v2"
    CIFARNET = "cifarnet"
    OVERFEAT = "overfeat"
    INCEPTION = "inception"
    INCEPTION_V1 = "inception_v1"
    INCEPTION_V2 = "inception_v2"
    INCEPTION_V3 = "inception_v3"
    INCEPTION_V4 = "inception_v4"
    INCEPTION_RESNET_V2 = "inception_resnet_v2"
    LENET = "lenet"
    RESNET_V1_18 = "resnet_v1_18"
    RESNET_V1_20 = "resnet_v1_20"
    RESNET_V1_50 = "resnet_v1_50"
    RESNET_V1_50_8K = "resnet_v1_50_8k"
    RESNET_V1_101 = "resnet_v1_101"
    RESNET_V1_110 = "resnet_v1_110"
    RESNET_V1_152 = "resnet_v1_152"
    RESNET_V1_200 = "resnet_v1_200"
    RESNET_V2_50 = "resnet_v2_50"
    RESNET_V2_101 = "resnet_v2_101"
    RESNET_V2_152 = "resnet_v2_152"
    RESNET_V2_200 = "resnet_v2_200"
    RESNEXT_B_50 = "resnext_b_50"
    RESNEXT_B_101 = "resnext_b_101"
    RESNEXT_C_50 = "resnext_c_50"
    RESNEXT_C_101 = "resnext_c_101"
    VGG = "vgg"
    VGG_A = "vgg_a"
    VGG_16 = "vgg_16"
    VGG_19 = "vgg_19"
    VGG_A_BN = "vgg_a_bn"
    VGG_16_BN = "vgg_16_bn"
    VGG_19_BN = "vgg_19_bn"
    PVANET = "pvanet"
    MOBILENET_V1 = "mobilenet_v1"
    MOBILENET_V1_075 = "mobilenet_v1_075"
    MOBILENET_V1_050 = "mobilenet_v1_050"
    MOBILENET_V1_025 = "mobilenet_v1_025"
    MOBILENET_V2 = "mobilenet_v2"
    MOBILENET_V2_140 = "mobilenet_v2_140"
    MOBILENET_V2_035 = "mobilenet_v2_035"
    NASNET_CIFAR = "nasnet_cifar"
    NASNET_MOBILE = "nasnet_mobile"
    NASNET_LARGE = "nasnet_large"
    PNASNET_LARGE = "pnasnet_large"
    PNASNET_MOBILE = "pnasnet_mobile"
