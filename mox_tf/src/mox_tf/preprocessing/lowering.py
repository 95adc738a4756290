"""The steps of preprocessing as TensorFlow's operations."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, singledispatch
from typing import Any

import numpy as np

from mox_core.preprocessing import steps
from mox_tf.tf1 import sample_box, stateless_uniform, tf

__all__ = ["Decoded", "apply_steps"]


class Decoded:
    """An image that is a tensor; like `decoding.Encoded`, of which a window can be asked for."""

    def __init__(self, image: Any) -> None:
        self._image = image

    def cut(self, how: Callable[[Any], Any]) -> Any:
        """What `how` makes of this image, of which it asks for the shape and a window."""
        return how(self)

    def shape(self) -> tuple[Any, Any]:
        """Height and width, int32."""
        return _size(self._image)

    def pixels(self) -> Any:
        """The whole image."""
        return self._image

    def window(self, top: Any, left: Any, height: Any, width: Any) -> Any:
        """A part of the image."""
        begin = tf.stack([top, left, 0])
        window = tf.slice(self._image, begin, tf.stack([height, width, -1]))
        window.set_shape([None, None, self._image.shape[2]])
        return window


def apply_steps(todo: tuple[steps.Step, ...], image: Any, seed: Any) -> Any:
    """Does steps to a `Decoded` or `decoding.Encoded` image.

    Args:
        todo: the steps.
        image: what they are done to.
        seed: int32 [2].

    Returns:
        The tensor.
    """
    draws = sum(step.draws for step in todo)
    numbers = stateless_uniform(draws, seed) if draws else None
    return apply_drawn(todo, image, numbers, seed)


def apply_drawn(todo: tuple[steps.Step, ...], image: Any, numbers: Any, seed: Any) -> Any:
    """Does steps with given random numbers, of which each takes its `draws`."""
    done = 0
    for step in todo:
        own = [numbers[done + index] for index in range(step.draws)]
        if isinstance(step, _OF_A_PART):
            image = image.cut(partial(_cut_of, step, own, seed))
        else:
            if not isinstance(image, tf.Tensor):
                image = image.pixels()
            image = _do(step, image, own)
        done += step.draws
    return image if isinstance(image, tf.Tensor) else image.pixels()


_OF_A_PART = (steps.ScaledRandomCrop, steps.DistortedBoxCrop, steps.CentralFraction)
"""Steps that use a part of the image only, and come first."""


def _size(image: Any) -> tuple[Any, Any]:
    shape = tf.shape(image)
    known = image.shape.as_list()
    return known[0] or shape[0], known[1] or shape[1]


def _int_below(number: Any, limit: Any) -> Any:
    """A whole number from 0 to limit - 1, of one from 0 to 1."""
    return tf.cast(number * tf.cast(limit, tf.float32), tf.int32)


def _between(number: Any, lowest: float, highest: float) -> Any:
    return number * (highest - lowest) + lowest


def _rounded(number: Any) -> Any:
    return tf.cast(tf.rint(number), tf.int32)


def _aspect_size(height: Any, width: Any, side: Any) -> tuple[Any, Any, Any]:
    """The scale that makes the smaller side `side`, and the size then, as TF-slim rounds it."""
    height, width = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    scale = tf.cast(side, tf.float32) / tf.minimum(height, width)
    return scale, _rounded(height * scale), _rounded(width * scale)


def _resized(image: Any, height: Any, width: Any) -> Any:
    return tf.image.resize_bilinear(image[tf.newaxis], tf.stack([height, width]))[0]


def _cut_of(step: steps.Step, numbers: list[Any], seed: Any, image: Any) -> Any:
    return _cut(step, image, numbers, seed)


@singledispatch
def _cut(step: steps.Step, image: Any, numbers: list[Any], seed: Any) -> Any:
    raise NotImplementedError(type(step).__name__)


@_cut.register
def _(step: steps.ScaledRandomCrop, image: Any, numbers: list[Any], seed: Any) -> Any:
    rows, columns = image.shape()
    side = step.smallest + _int_below(numbers[0], step.largest - step.smallest + 1)
    scale, height, width = _aspect_size(rows, columns, side)
    begins, lengths = [], []
    for number, size, whole, old in (
        (numbers[1], step.height, height, rows),
        (numbers[2], step.width, width, columns),
    ):
        begin = tf.cast(_int_below(number, whole - size + 1), tf.float32)
        length = tf.clip_by_value(_rounded(size / scale), 1, old)
        begins.append(tf.minimum(_rounded(begin / scale), old - length))
        lengths.append(length)
    return _resized(image.window(*begins, *lengths), step.height, step.width)


@_cut.register
def _(step: steps.DistortedBoxCrop, image: Any, numbers: list[Any], seed: Any) -> Any:
    rows, columns = image.shape()
    begin, size = sample_box(
        tf.stack([rows, columns, 3]),
        tf.constant(step.boxes, tf.float32, [1, len(step.boxes), 4]),
        seed,
        min_object_covered=step.min_object_covered,
        aspect_ratio_range=step.aspect_ratio,
        area_range=step.area,
        max_attempts=step.attempts,
    )
    return image.window(begin[0], begin[1], size[0], size[1])


@_cut.register
def _(step: steps.CentralFraction, image: Any, numbers: list[Any], seed: Any) -> Any:
    begins, lengths = [], []
    for size in image.shape():
        exact = tf.cast(size, tf.float64)
        begins.append(tf.cast((exact - exact * step.fraction) / 2, tf.int32))
        lengths.append(size - 2 * begins[-1])
    return image.window(*begins, *lengths)


@singledispatch
def _do(step: steps.Step, image: Any, numbers: list[Any]) -> Any:
    raise NotImplementedError(type(step).__name__)


@_do.register
def _(step: steps.AspectResize, image: Any, numbers: list[Any]) -> Any:
    _, height, width = _aspect_size(*_size(image), step.side)
    return _resized(image, height, width)


@_do.register
def _(step: steps.CentralCrop, image: Any, numbers: list[Any]) -> Any:
    height, width = _size(image)
    begin = tf.stack([(height - step.height) // 2, (width - step.width) // 2, 0])
    return tf.slice(image, begin, [step.height, step.width, -1])


_METHODS = {
    "bilinear": tf.image.ResizeMethod.BILINEAR,
    "nearest": tf.image.ResizeMethod.NEAREST_NEIGHBOR,
    "bicubic": tf.image.ResizeMethod.BICUBIC,
    "area": tf.image.ResizeMethod.AREA,
}


@_do.register
def _(step: steps.Resize, image: Any, numbers: list[Any]) -> Any:
    def resized(method: str) -> Any:
        result = tf.image.resize_images(image, [step.height, step.width], _METHODS[method])
        return tf.cast(result, tf.float32)

    if len(step.methods) == 1:
        return resized(step.methods[0])
    which = _int_below(numbers[0], len(step.methods))
    branches = [lambda method=method: resized(method) for method in step.methods]
    return tf.switch_case(which, branches)


@_do.register
def _(step: steps.Pad, image: Any, numbers: list[Any]) -> Any:
    return tf.pad(image, [[step.pixels, step.pixels]] * 2 + [[0, 0]])


@_do.register
def _(step: steps.RandomCrop, image: Any, numbers: list[Any]) -> Any:
    height, width = _size(image)
    fits = tf.Assert(
        tf.logical_and(tf.greater_equal(height, step.height), tf.greater_equal(width, step.width)),
        [f"an image is smaller than the crop of {step.height} x {step.width}:", height, width],
    )
    with tf.control_dependencies([fits]):
        top = _int_below(numbers[0], height - step.height + 1)
    left = _int_below(numbers[1], width - step.width + 1)
    return tf.slice(image, tf.stack([top, left, 0]), [step.height, step.width, -1])


@_do.register
def _(step: steps.CropOrPad, image: Any, numbers: list[Any]) -> Any:
    return tf.image.resize_image_with_crop_or_pad(image, step.height, step.width)


@_do.register
def _(step: steps.Flip, image: Any, numbers: list[Any]) -> Any:
    return tf.cond(tf.less(numbers[0], 0.5), lambda: tf.reverse(image, [1]), lambda: image)


@_do.register
def _(step: steps.Scale, image: Any, numbers: list[Any]) -> Any:
    image = tf.cast(image, tf.float32)
    if any(step.means):
        # A whole row of means is subtracted in a fifth of the time that three of them take.
        row = [1 if len(step.means) == 1 else image.shape.as_list()[1] or 1, 1]
        image -= tf.constant(np.tile(np.float32(step.means), row))
    return image if step.factor == 1 else image * step.factor


@_do.register
def _(step: steps.Standardize, image: Any, numbers: list[Any]) -> Any:
    return tf.image.per_image_standardization(image)


@_do.register
def _(step: steps.Grayscale, image: Any, numbers: list[Any]) -> Any:
    return tf.image.rgb_to_grayscale(tf.cast(image, tf.float32))


@_do.register
def _(step: steps.Brightness, image: Any, numbers: list[Any]) -> Any:
    return tf.cast(image, tf.float32) + _between(numbers[0], -step.max_delta, step.max_delta)


@_do.register
def _(step: steps.Contrast, image: Any, numbers: list[Any]) -> Any:
    return tf.image.adjust_contrast(image, _between(numbers[0], step.lower, step.upper))


@_do.register
def _(step: steps.Saturation, image: Any, numbers: list[Any]) -> Any:
    return tf.image.adjust_saturation(image, _between(numbers[0], step.lower, step.upper))


@_do.register
def _(step: steps.Hue, image: Any, numbers: list[Any]) -> Any:
    return tf.image.adjust_hue(image, _between(numbers[0], -step.max_delta, step.max_delta))


@_do.register
def _(step: steps.Clip, image: Any, numbers: list[Any]) -> Any:
    return tf.clip_by_value(image, step.lowest, step.highest)


@_do.register
def _(step: steps.OneOf, image: Any, numbers: list[Any]) -> Any:
    def branch(choice: tuple[steps.Step, ...]) -> Any:
        return lambda: apply_drawn(choice, image, numbers[1:], None)

    which = _int_below(numbers[0], len(step.choices))
    return tf.switch_case(which, [branch(choice) for choice in step.choices])
