"""The five families of preprocessing, each as its steps.

The first four have the numbers of TF-slim's functions of the same names, as they stand in its last
version. PVANet's are not published with its network; ours follow its paper (section 4.1: resize to
256 x 256, cut any 192 x 192) with the channel means of its public training script.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mox_core.errors import SpecError
from mox_core.preprocessing.steps import (
    AspectResize,
    Brightness,
    CentralCrop,
    CentralFraction,
    Clip,
    Contrast,
    CropOrPad,
    DistortedBoxCrop,
    Flip,
    Grayscale,
    Hue,
    OneOf,
    Pad,
    RandomCrop,
    Resize,
    Saturation,
    Scale,
    ScaledRandomCrop,
    Standardize,
    Step,
    ToUnitRange,
)

__all__ = ["FAMILIES"]

_VGG_MEANS = (123.68, 116.78, 103.94)
_PVANET_MEANS = (122.7717, 115.9465, 102.9801)
_GRAY = (Grayscale(),)


def _vgg(
    is_training: bool,
    height: int,
    width: int,
    *,
    resize_side_min: int = 256,
    resize_side_max: int = 512,
) -> tuple[Step, ...]:
    if resize_side_min < max(height, width):
        raise SpecError(
            f"an image whose smaller side is resized to {resize_side_min} may not hold a crop of "
            f"{height} x {width}.\n  Pass a larger resize_side_min (and resize_side_max) to "
            "get_data_augmentation_fn."
        )
    if resize_side_max < resize_side_min:
        raise SpecError(
            f"resize_side_max={resize_side_max} is below resize_side_min={resize_side_min}."
        )
    subtract = Scale(_VGG_MEANS)
    if is_training:
        crop = ScaledRandomCrop(resize_side_min, resize_side_max, height, width)
        return crop, Flip(), subtract
    return AspectResize(resize_side_min), CentralCrop(height, width), subtract


_BRIGHTER = Brightness(32 / 255)
_SATURATION = Saturation(0.5, 1.5)
_HUE = Hue(0.2)
_CONTRAST = Contrast(0.5, 1.5)
_COLOURS = OneOf(
    (
        (_BRIGHTER, _SATURATION, _HUE, _CONTRAST),
        (_SATURATION, _BRIGHTER, _CONTRAST, _HUE),
        (_CONTRAST, _HUE, _BRIGHTER, _SATURATION),
        (_HUE, _SATURATION, _CONTRAST, _BRIGHTER),
    )
)


def _inception(
    is_training: bool,
    height: int,
    width: int,
    *,
    bbox: Sequence[Sequence[float]] | None = None,
    fast_mode: bool = True,
    crop_image: bool = True,
    use_grayscale: bool = False,
    add_image_summaries: bool = False,
) -> tuple[Step, ...]:
    del add_image_summaries  # mox writes none
    gray = _GRAY if use_grayscale else ()
    crop: tuple[Step, ...]
    to_minus_one = Scale((0.5,), 2.0)
    if not is_training:
        crop = (CentralFraction(0.875),) if crop_image else ()
        return *crop, Resize(height, width), ToUnitRange(), *gray, to_minus_one
    crop = (DistortedBoxCrop(_boxes(bbox)),) if crop_image else ()
    if fast_mode:
        resize, colours = Resize(height, width), (_BRIGHTER, _SATURATION)
        return *crop, resize, Flip(), ToUnitRange(), *colours, Clip(0, 1), *gray, to_minus_one
    resize = Resize(height, width, ("bilinear", "nearest", "bicubic", "area"))
    return *crop, resize, Flip(), ToUnitRange(), _COLOURS, Clip(0, 1), *gray, to_minus_one


def _boxes(
    boxes: Sequence[Sequence[float]] | None,
) -> tuple[tuple[float, float, float, float], ...]:
    checked = []
    for box in boxes or ():
        numbers = [float(number) for number in box]
        if len(numbers) != 4 or not (
            0 <= numbers[0] < numbers[2] <= 1 and 0 <= numbers[1] < numbers[3] <= 1
        ):
            raise SpecError(
                f"bbox has {list(box)}; a box is [top, left, bottom, right], as fractions of the "
                "image's sides."
            )
        checked.append((numbers[0], numbers[1], numbers[2], numbers[3]))
    return tuple(checked)


def _cifarnet(
    is_training: bool,
    height: int,
    width: int,
    *,
    padding: int = 4,
    use_grayscale: bool = False,
    add_image_summaries: bool = False,
) -> tuple[Step, ...]:
    del add_image_summaries
    gray = _GRAY if use_grayscale else ()
    if not is_training:
        return *gray, CropOrPad(height, width), Standardize()
    colours = (Brightness(63), Contrast(0.2, 1.8))
    return *gray, Pad(padding), RandomCrop(height, width), Flip(), *colours, Standardize()


def _lenet(is_training: bool, height: int, width: int) -> tuple[Step, ...]:
    return CropOrPad(height, width), Scale((128.0,), 1 / 128)


def _pvanet(is_training: bool, height: int, width: int) -> tuple[Step, ...]:
    resize = Resize(round(height * 256 / 192), round(width * 256 / 192))
    subtract = Scale(_PVANET_MEANS)
    if is_training:
        return resize, RandomCrop(height, width), Flip(), subtract
    return resize, CentralCrop(height, width), subtract


FAMILIES: Mapping[str, Callable[..., tuple[Step, ...]]] = {
    "vgg": _vgg,
    "inception": _inception,
    "cifarnet": _cifarnet,
    "lenet": _lenet,
    "pvanet": _pvanet,
}
"""Name -> `(is_training, height, width, **options)` -> steps."""
