"""The names of the networks (manual 004, NetworkKeys)."""

from __future__ import annotations

__all__ = ["NETWORK_NAMES", "NetworkKeys"]

NETWORK_NAMES = (
    "alexnet_v2",
    "cifarnet",
    "overfeat",
    "vgg_a",
    "vgg_16",
    "vgg_19",
    "vgg_a_bn",
    "vgg_16_bn",
    "vgg_19_bn",
    "inception_v1",
    "inception_v2",
    "inception_v3",
    "inception_v4",
    "inception_resnet_v2",
    "lenet",
    "resnet_v1_18",
    "resnet_v1_50",
    "resnet_v1_50_8k",
    "resnet_v1_101",
    "resnet_v1_152",
    "resnet_v1_200",
    "resnet_v2_50",
    "resnet_v2_101",
    "resnet_v2_152",
    "resnet_v2_200",
    "resnext_b_50",
    "resnext_b_101",
    "resnext_c_50",
    "resnext_c_101",
    "pvanet",
    "mobilenet_v1",
    "mobilenet_v1_075",
    "mobilenet_v1_050",
    "mobilenet_v1_025",
    "mobilenet_v2",
    "mobilenet_v2_140",
    "mobilenet_v2_035",
    "resnet_v1_20",
    "resnet_v1_110",
    "nasnet_cifar",
    "nasnet_mobile",
    "nasnet_large",
    "pnasnet_large",
    "pnasnet_mobile",
)


class NetworkKeys:
    """Every name as a constant: `NetworkKeys.RESNET_V1_50 == 'resnet_v1_50'`."""

    ALEXNET_V2 = "alexnet_v2"
    CIFARNET = "cifarnet"
    OVERFEAT = "overfeat"
    VGG_A = "vgg_a"
    VGG_16 = "vgg_16"
    VGG_19 = "vgg_19"
    VGG_A_BN = "vgg_a_bn"
    VGG_16_BN = "vgg_16_bn"
    VGG_19_BN = "vgg_19_bn"
    INCEPTION_V1 = "inception_v1"
    INCEPTION_V2 = "inception_v2"
    INCEPTION_V3 = "inception_v3"
    INCEPTION_V4 = "inception_v4"
    INCEPTION_RESNET_V2 = "inception_resnet_v2"
    LENET = "lenet"
    RESNET_V1_18 = "resnet_v1_18"
    RESNET_V1_50 = "resnet_v1_50"
    RESNET_V1_50_8K = "resnet_v1_50_8k"
    RESNET_V1_101 = "resnet_v1_101"
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
    PVANET = "pvanet"
    MOBILENET_V1 = "mobilenet_v1"
    MOBILENET_V1_075 = "mobilenet_v1_075"
    MOBILENET_V1_050 = "mobilenet_v1_050"
    MOBILENET_V1_025 = "mobilenet_v1_025"
    MOBILENET_V2 = "mobilenet_v2"
    MOBILENET_V2_140 = "mobilenet_v2_140"
    MOBILENET_V2_035 = "mobilenet_v2_035"
    RESNET_V1_20 = "resnet_v1_20"
    RESNET_V1_110 = "resnet_v1_110"
    NASNET_CIFAR = "nasnet_cifar"
    NASNET_MOBILE = "nasnet_mobile"
    NASNET_LARGE = "nasnet_large"
    PNASNET_LARGE = "pnasnet_large"
    PNASNET_MOBILE = "pnasnet_mobile"
