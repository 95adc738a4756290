"""The networks of the zoo in native scripts, on TensorFlow's own tensors."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import mox_core
from mox_core import nn
from mox_core.errors import SpecError
from mox_core.nn.graph import Collections
from mox_core.nn.tracing import trace_function
from mox_core.spec import ModeKeys
from mox_tf.lowering import lower_graph, spec_of
from mox_tf.tf1 import tf

__all__ = ["get_model_fn"]


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
    preprocess_fn: Callable[..., Any] | str | None = "default",
) -> Callable[[Any], tuple[Any, dict[str, Any]]]:
    """Returns a network of the zoo as a function of images (manual 004, section 2).

        logits, end_points = mox.get_model_fn("resnet_v1_50", mode, num_classes=1000)(images)

    The variables are those of `tf.get_variable`, with TF-slim's names below the scopes that are
    open. Their L2 losses are in `tf.GraphKeys.REGULARIZATION_LOSSES`, what moves averages in
    `UPDATE_OPS`.

    Args:
        name: one of `NetworkKeys`.
        run_mode: TRAIN drops out and normalizes with the batch.
        num_classes: size of the last layer.
        weight_decay: factor of the L2 losses.
        data_format: `NHWC` or `NCHW`: the order of what preprocess_fn returns. Images are NHWC.
        batch_norm_fused: accepted; results are the same.
        batch_renorm: not available yet.
        image_height: images are resized to it; None: as they are.
        image_width: images are resized to it; None: as they are.
        preprocess_fn: images -> images, or (images, run_mode) -> images, before the network;
            default: float32 and the size above; None: nothing.

    Returns:
        A function of images `[batch, height, width, channels]`, uint8 or float.

    Raises:
        SpecError: the network is not known or not built yet, or an argument does not fit.
    """
    own = callable(preprocess_fn)
    neutral = mox_core.get_model_fn(
        name,
        run_mode,
        num_classes,
        weight_decay,
        data_format,
        batch_norm_fused,
        batch_renorm,
        image_height,
        image_width,
        None if own else preprocess_fn,
    )
    exported = run_mode == ModeKeys.EXPORT
    mode = ModeKeys.EXPORT if exported else ModeKeys.parse(run_mode)

    def network_fn(images: Any) -> tuple[Any, dict[str, Any]]:
        images = tf.convert_to_tensor(images)
        if own:
            images = _preprocessed(preprocess_fn, images, mode, data_format)
        images = _of_known_size(images, name, image_height, image_width)
        traced = trace_function(neutral, [spec_of(images)], mode, store=nn.VariableStore())
        logits, end_points = traced.returned
        losses = traced.graph.collection(Collections.REGULARIZATION_LOSSES)
        values = lower_graph(
            traced.graph,
            [logits, *end_points.values(), *losses],
            {traced.inputs[0]: images},
            mode,
            moves_averages=mode == ModeKeys.TRAIN,
        )
        for loss in losses:
            tf.add_to_collection(tf.GraphKeys.REGULARIZATION_LOSSES, values[loss])
        return values[logits], {key: values[one] for key, one in end_points.items()}

    return network_fn


def _preprocessed(function: Any, images: Any, mode: str, data_format: str) -> Any:
    try:
        inspect.signature(function).bind(images)
    except TypeError:  # the signature that public scripts of MoXing have
        images = function(images, mode)
    else:
        images = function(images)
    shape = images.shape
    is_nchw = shape.rank == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3)
    return tf.transpose(images, (0, 2, 3, 1)) if data_format == "NCHW" and is_nchw else images


def _of_known_size(images: Any, name: str, height: int | None, width: int | None) -> Any:
    """The images with the size that the network is built for."""
    if images.shape.rank is None:
        images = tf.ensure_shape(images, [None] * 4)
    if images.shape.rank != 4:
        raise SpecError(
            f"network {name!r} got images of shape {images.shape}; it takes "
            "[batch, height, width, channels].\n"
            "  Batch single images: pass batch_size to mox.run, or batch them in input_fn."
        )
    if None not in images.shape.as_list()[1:3]:
        return images
    if height is None or width is None:
        raise SpecError(
            f"network {name!r} got images of shape {images.shape}, whose size is not known.\n"
            "  Pass image_height and image_width, or resize them in input_fn."
        )
    dtype = images.dtype
    return tf.cast(tf.image.resize_bilinear(images, (height, width)), dtype)
