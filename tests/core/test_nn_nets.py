"""The networks: names, shapes and numbers of parameters are those of TF-slim's checkpoints."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import mox_core as mox
from mox_core import nn
from mox_core.cli import main
from mox_core.errors import SpecError
from mox_core.nets import NETWORK_NAMES, NETWORKS, NetworkKeys, get_network
from mox_core.testing.nn_reference import evaluate


def build(name, *, mode=mox.ModeKeys.PREDICT, size=None, classes=None, **options):
    """The trace of a network; its output_info are the end points and the logits."""
    network = get_network(name)

    def model_fn(inputs, mode):
        network_fn = mox.get_model_fn(name, mode, classes or network.default_num_classes, **options)
        logits, end_points = network_fn(inputs[0])
        return mox.ModelSpec(output_info={**end_points, "logits of mox": logits})

    size = size or network.default_image_size
    images = nn.InputSpec((None, size, size, network.default_channels), "float32")
    return nn.trace(model_fn, {0: images}, mode)


# Trainable parameters: resnet_v1_50, vgg_16 and inception_v3 as published with their classes;
# the others follow from their tables.
PARAMETERS = {
    "cifarnet": 1_756_426,
    "inception_v3": 27_145_970,
    "lenet": 3_274_634,
    "mobilenet_v1": 4_233_001,
    "mobilenet_v1_075": 2_586_329,
    "mobilenet_v1_050": 1_332_105,
    "mobilenet_v1_025": 470_329,
    "resnet_v1_50": 25_557_032,
    "vgg_16": 138_357_544,
}

VARIABLES = {
    "lenet": {"LeNet/conv1/weights": (5, 5, 1, 32), "LeNet/fc3/weights": (3136, 1024)},
    "cifarnet": {"CifarNet/conv2/biases": (64,), "CifarNet/logits/weights": (192, 10)},
    "vgg_16": {
        "vgg_16/conv1/conv1_2/weights": (3, 3, 64, 64),
        "vgg_16/conv5/conv5_3/biases": (512,),
        "vgg_16/fc6/weights": (7, 7, 512, 4096),
        "vgg_16/fc8/biases": (1000,),
    },
    "resnet_v1_50": {
        "resnet_v1_50/conv1/weights": (7, 7, 3, 64),
        "resnet_v1_50/conv1/BatchNorm/gamma": (64,),
        "resnet_v1_50/block1/unit_1/bottleneck_v1/shortcut/weights": (1, 1, 64, 256),
        "resnet_v1_50/block3/unit_6/bottleneck_v1/conv2/weights": (3, 3, 256, 256),
        "resnet_v1_50/block4/unit_3/bottleneck_v1/conv3/BatchNorm/moving_variance": (2048,),
        "resnet_v1_50/logits/weights": (1, 1, 2048, 1000),
        "resnet_v1_50/logits/biases": (1000,),
    },
    "inception_v3": {
        "InceptionV3/Conv2d_1a_3x3/weights": (3, 3, 3, 32),
        "InceptionV3/Mixed_5c/Branch_1/Conv_1_0c_5x5/weights": (5, 5, 48, 64),
        "InceptionV3/Mixed_6a/Branch_0/Conv2d_1a_1x1/weights": (3, 3, 288, 384),
        "InceptionV3/Mixed_6d/Branch_2/Conv2d_0e_1x7/weights": (1, 7, 160, 192),
        "InceptionV3/Mixed_7b/Branch_1/Conv2d_0b_3x1/weights": (3, 1, 384, 384),
        "InceptionV3/Mixed_7c/Branch_1/Conv2d_0c_3x1/BatchNorm/beta": (384,),
        "InceptionV3/AuxLogits/Conv2d_2a_5x5/weights": (5, 5, 128, 768),
        "InceptionV3/AuxLogits/Conv2d_2b_1x1/biases": (1001,),
        "InceptionV3/Logits/Conv2d_1c_1x1/weights": (1, 1, 2048, 1001),
    },
    "mobilenet_v1": {
        "MobilenetV1/Conv2d_0/weights": (3, 3, 3, 32),
        "MobilenetV1/Conv2d_1_depthwise/depthwise_weights": (3, 3, 32, 1),
        "MobilenetV1/Conv2d_13_pointwise/BatchNorm/moving_mean": (1024,),
        "MobilenetV1/Logits/Conv2d_1c_1x1/weights": (1, 1, 1024, 1001),
    },
    "mobilenet_v1_025": {"MobilenetV1/Conv2d_0/weights": (3, 3, 3, 8)},
}
COUNTS = {"resnet_v1_50": 267, "vgg_16": 32, "inception_v3": 388, "mobilenet_v1": 137, "lenet": 8}


@pytest.mark.parametrize("name", list(NETWORKS))
def test_parameters_names_and_shapes(name):
    trace = build(name)
    variables = trace.graph.variables
    assert sum(math.prod(v.shape) for v in variables.values() if v.trainable) == PARAMETERS[name]
    for variable, shape in VARIABLES.get(name, {}).items():
        assert variables[variable].shape == shape, variable
    assert len(variables) == COUNTS.get(name, len(variables))
    network = get_network(name)
    assert trace.spec.output_info["logits of mox"].shape == (None, network.default_num_classes)
    assert any(network.default_logits_pattern in variable for variable in variables)


@pytest.mark.parametrize(
    ("name", "end_points"),
    [
        ("lenet", {"conv1": (None, 28, 28, 32), "Flatten": (None, 3136), "Logits": (None, 10)}),
        ("resnet_v1_50", {"resnet_v1_50/block1": (None, 28, 28, 256), "predictions": (None, 1000)}),
        ("resnet_v1_50", {"resnet_v1_50/block4/unit_2/bottleneck_v1": (None, 7, 7, 2048)}),
        (
            "vgg_16",
            {"vgg_16/conv3/conv3_3": (None, 56, 56, 256), "vgg_16/pool5": (None, 7, 7, 512)},
        ),
        ("inception_v3", {"Mixed_6e": (None, 17, 17, 768), "Mixed_7c": (None, 8, 8, 2048)}),
        ("inception_v3", {"AuxLogits": (None, 1001), "PreLogits": (None, 1, 1, 2048)}),
        ("mobilenet_v1", {"Conv2d_11_pointwise": (None, 14, 14, 512)}),
    ],
)
def test_end_points(name, end_points):
    found = build(name).spec.output_info
    assert {key: found[key].shape for key in end_points} == end_points


def test_training_differs_in_dropout_and_batch_statistics_only():
    traces = {}
    for mode in (mox.ModeKeys.TRAIN, mox.ModeKeys.EVAL):

        def model_fn(inputs, mode):
            logits, _ = mox.get_model_fn("inception_v3", mode, 10)(inputs[0])
            loss = nn.reduce_mean(logits)
            return mox.ModelSpec(loss=loss, log_info={"loss": loss})

        trace = nn.trace(model_fn, {0: nn.InputSpec((None, 299, 299, 3), "float32")}, mode)
        traces[mode] = [(one.op, one.attrs.get("training")) for one in trace.graph.tensors]
    train, evaluation = traces[mox.ModeKeys.TRAIN], traces[mox.ModeKeys.EVAL]
    changed = {(a, b) for a, b in zip(train, evaluation, strict=True) if a != b}
    assert changed == {
        (("dropout", None), ("identity", None)),
        (("batch_norm", True), ("batch_norm", False)),
    }


@pytest.mark.parametrize(
    ("name", "size"), [("lenet", 28), ("cifarnet", 32), ("mobilenet_v1_025", 64)]
)
def test_a_network_computes(name, size):
    """On the reference: finite, and different for different images."""
    trace = build(name, size=size)
    random = np.random.default_rng(0)
    (images,) = trace.inputs.values()
    values = {images: random.normal(size=(2, *images.shape[1:])).astype("float32")}
    values.update({one: nn.initial_value(one) for one in trace.graph.variables.values()})
    logits = trace.spec.output_info["logits of mox"]
    found = evaluate([logits], values)[logits]
    assert np.isfinite(found).all() and np.ptp(found[0] - found[1]) > 0


def test_images_are_resized_and_converted():
    def model_fn(inputs, mode):
        logits, _ = mox.get_model_fn("lenet", mode, 10, image_height=28, image_width=28)(inputs[0])
        return mox.ModelSpec(output_info={"logits": logits})

    images = nn.InputSpec((None, 40, 50, 1), "uint8")
    trace = nn.trace(model_fn, {0: images}, mox.ModeKeys.PREDICT)
    assert [one.op for one in trace.graph.tensors][:3] == ["input", "cast", "resize_bilinear"]
    assert trace.graph.variables["LeNet/fc3/weights"].shape == (3136, 1024)


def test_weight_decay_makes_losses():
    counts = []

    def model_fn(inputs, mode):
        for decay in (0.0, 1e-4):
            with nn.variable_scope(f"decay{len(counts)}"):
                mox.get_model_fn("resnet_v1_50", mode, 10, weight_decay=decay)(inputs[0])
            counts.append(len(mox.get_collection(nn.Collections.REGULARIZATION_LOSSES)))
        return mox.ModelSpec(output_info={"x": inputs[0]})

    nn.trace(model_fn, {0: nn.InputSpec((None, 64, 64, 3), "float32")}, mox.ModeKeys.PREDICT)
    assert counts == [0, 54]  # 53 convolutions and the logits


def test_meta():
    meta = mox.get_model_meta("resnet_v1_50")
    assert meta.default_image_size == 224
    assert meta.default_labels_offset == 1
    assert meta.default_logits_pattern == "logits"
    assert mox.get_model_meta("inception_v3").default_image_size == 299
    assert mox.get_model_meta(mox.NetworkKeys.MOBILENET_V1).default_labels_offset == 0


def test_every_name_of_the_manual_is_a_key():
    keys = {name: value for name, value in vars(NetworkKeys).items() if name.isupper()}
    assert keys == {name.upper(): name for name in NETWORK_NAMES}
    assert len(keys) == 44
    assert set(NETWORKS) <= set(NETWORK_NAMES)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: mox.get_model_meta("pvanet"), "network 'pvanet' is planned"),
        (lambda: mox.get_model_fn("resnet_v1_5", "TRAIN", 10), "Did you mean"),
        (lambda: mox.get_model_fn("lenet", "TRAIN", 0), "num_classes is 0"),
        (lambda: mox.get_model_fn("lenet", "TRAIN", 10, batch_renorm=True), "batch_renorm"),
        (lambda: mox.get_model_fn("lenet", "TRAIN", 10, data_format="CHWN"), "'CHWN'"),
        (lambda: mox.get_model_fn("lenet", "learn", 10), "is not a run mode"),
    ],
)
def test_errors(call, said):
    with pytest.raises(SpecError, match=said) as error:
        call()
    assert len(str(error.value).splitlines()) <= 2


# ---- mox net -------------------------------------------------------------------------------------


def test_net_show(capsys):
    assert main(["net", "show", "mobilenet_v1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["LAYER", "OPERATION", "OUTPUT", "PARAMETERS", "MULTIPLY-ADDS"]
    assert lines[1].split() == [
        *["MobilenetV1/Conv2d_0", "conv2d", "112", "x", "112", "x", "32", "864", "10,838,016"]
    ]
    assert "4,233,001 parameters" in lines[-1]
    assert "for an image of 224 x 224 pixels, 1,001 classes" in lines[-1]


def test_net_show_json(capsys):
    assert main(["net", "show", "resnet_v1_50", "--json", "--num-classes", "1000"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["parameters"] == 25_557_032
    assert report["multiply_adds"] == 3_482_255_360
    assert sum(layer["parameters"] for layer in report["layers"]) == report["parameters"]


def test_net_list(capsys):
    assert main(["net", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == list(NETWORKS)
    assert main(["net", "list"]) == 0
    assert "inception_v3" in capsys.readouterr().out


def test_net_errors(capsys):
    assert main(["net", "show", "nasnet_large"]) == 1
    assert "planned" in capsys.readouterr().err
    assert main(["net", "show", "vgg_16", "--image-size", "100"]) == 1
    assert "nn.conv2d in scope 'vgg_16/fc6'" in capsys.readouterr().err
