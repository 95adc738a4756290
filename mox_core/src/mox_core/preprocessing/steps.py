"""The steps that preprocessing is made of, as plain numbers.

An image is height x width x channels. Until a step needs fractions it is what the decoder made of
it (uint8, 0 to 255); after that it is float32. A step that is random takes `draws` numbers from
0 to 1, so that the same numbers give the same image on every engine; only `DistortedBoxCrop`, which
tries until something fits, draws as many as it needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

__all__ = [
    "AspectResize",
    "Brightness",
    "CentralCrop",
    "CentralFraction",
    "Clip",
    "Contrast",
    "CropOrPad",
    "DistortedBoxCrop",
    "Flip",
    "Grayscale",
    "Hue",
    "OneOf",
    "Pad",
    "RandomCrop",
    "Resize",
    "Saturation",
    "Scale",
    "ScaledRandomCrop",
    "Standardize",
    "Step",
    "ToUnitRange",
]


@dataclass(frozen=True)
class Step:
    """Something that is done to an image."""

    draws: ClassVar[int] = 0


@dataclass(frozen=True)
class ScaledRandomCrop(Step):
    """Cuts a window as if the image had been resized at random first.

    The image's smaller side becomes `smallest` to `largest` pixels, all whole numbers alike, the
    larger one keeps the proportion; of that, any window of `height` x `width` is taken, all alike.
    What is computed is only the window: its part of the image, to whole pixels, resized.
    """

    smallest: int
    largest: int
    height: int
    width: int
    draws: ClassVar[int] = 3


@dataclass(frozen=True)
class AspectResize(Step):
    """Resizes so that the smaller side is `side` pixels and the proportion stays."""

    side: int


@dataclass(frozen=True)
class CentralCrop(Step):
    """Keeps the middle `height` x `width`; of an odd rest, the larger half is cut off at the end.

    The image is at least that large.
    """

    height: int
    width: int


@dataclass(frozen=True)
class CentralFraction(Step):
    """Keeps the middle `fraction` of each side."""

    fraction: float


@dataclass(frozen=True)
class DistortedBoxCrop(Step):
    """Cuts a random box: the rule of `tf.image.sample_distorted_bounding_box`.

    Args:
        boxes: (top, left, bottom, right) of objects, as fractions of the sides; the box has to
            cover `min_object_covered` of one of them, chosen at random. None: the whole image.
        min_object_covered: fraction.
        aspect_ratio: smallest and largest width / height.
        area: smallest and largest fraction of the image.
        attempts: after so many boxes that do not fit, the whole image is taken.
    """

    boxes: tuple[tuple[float, float, float, float], ...] = ()
    min_object_covered: float = 0.1
    aspect_ratio: tuple[float, float] = (0.75, 1.33)
    area: tuple[float, float] = (0.05, 1.0)
    attempts: int = 100


@dataclass(frozen=True)
class Resize(Step):
    """Resizes to `height` x `width` with one of the `methods`, all alike.

    The methods are those of TensorFlow 1, whose pixel i lies at i times the scale: "bilinear",
    "nearest", "bicubic" and "area".
    """

    height: int
    width: int
    methods: tuple[str, ...] = ("bilinear",)
    draws: ClassVar[int] = 1


@dataclass(frozen=True)
class Pad(Step):
    """Adds `pixels` zeros on every side."""

    pixels: int


@dataclass(frozen=True)
class RandomCrop(Step):
    """Keeps any window of `height` x `width`, all alike. The image is at least that large."""

    height: int
    width: int
    draws: ClassVar[int] = 2


@dataclass(frozen=True)
class CropOrPad(Step):
    """Keeps the middle `height` x `width`, with zeros around an image that is smaller."""

    height: int
    width: int


@dataclass(frozen=True)
class Flip(Step):
    """Mirrors left and right in half of the cases."""

    draws: ClassVar[int] = 1


@dataclass(frozen=True)
class ToUnitRange(Step):
    """Divides whole numbers by the largest of their type; floats are from 0 to 1 already."""


@dataclass(frozen=True)
class Scale(Step):
    """`(x - mean) * factor`, with one mean for all channels or one for each."""

    means: tuple[float, ...]
    factor: float = 1.0


@dataclass(frozen=True)
class Standardize(Step):
    """Subtracts the image's mean and divides by its standard deviation.

    The divisor is at least 1 / sqrt(number of values), as in
    `tf.image.per_image_standardization`.
    """


@dataclass(frozen=True)
class Grayscale(Step):
    """One channel, of 0.2989 red, 0.587 green and 0.114 blue."""


@dataclass(frozen=True)
class Brightness(Step):
    """Adds a number from `-max_delta` to `max_delta`."""

    max_delta: float
    draws: ClassVar[int] = 1


@dataclass(frozen=True)
class Contrast(Step):
    """Multiplies the difference to each channel's mean by `lower` to `upper`."""

    lower: float
    upper: float
    draws: ClassVar[int] = 1


@dataclass(frozen=True)
class Saturation(Step):
    """Multiplies the saturation (of HSV, at most 1) by `lower` to `upper`."""

    lower: float
    upper: float
    draws: ClassVar[int] = 1


@dataclass(frozen=True)
class Hue(Step):
    """Turns the hue (of HSV, 1 being the whole circle) by `-max_delta` to `max_delta`."""

    max_delta: float
    draws: ClassVar[int] = 1


@dataclass(frozen=True)
class Clip(Step):
    """Limits values to `lowest` to `highest`."""

    lowest: float
    highest: float


@dataclass(frozen=True)
class OneOf(Step):
    """Does one of several lists of steps, all alike."""

    choices: tuple[tuple[Step, ...], ...]

    @property
    def draws(self) -> int:  # type: ignore[override]
        """One for the choice, and enough for any of them."""
        return 1 + max(sum(step.draws for step in choice) for choice in self.choices)
