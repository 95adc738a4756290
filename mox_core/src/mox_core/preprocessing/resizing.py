"""The resize methods of TensorFlow 1 in NumPy: pixel i of the result lies at i times the scale.

(Later versions, OpenCV and PIL put the pixels' centres in proportion instead, which moves edges by
half a pixel; the public checkpoints were trained with these.)
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from mox_core._opencv import opencv

__all__ = ["mirrored", "resize"]

Image = np.ndarray[Any, Any]

_CUBIC_TABLE = 1024
_CUBIC_A = -0.75


def resize(image: Image, height: int, width: int, method: str = "bilinear") -> Image:
    """Resizes to float32, height x width x channels.

    Args:
        image: height x width x channels, any numbers.
        height: of the result.
        width: of the result.
        method: "bilinear", "nearest", "bicubic" or "area".
    """
    if image.shape[:2] == (height, width):
        return image.astype(np.float32)
    warp = _opencv_warp() if method == "bilinear" and image.shape[2] <= 4 else None
    if warp is not None:
        warped: Image = warp(image, height, width)
        return warped
    rows, row_weights = _taps(image.shape[0], height, method)
    columns, column_weights = _taps(image.shape[1], width, method)
    image = _along(image, 0, rows, row_weights)
    return _along(image, 1, columns, column_weights)


def _along(image: Image, axis: int, indices: Image, weights: Image) -> Image:
    shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
    total: Image | None = None
    for index, weight in zip(indices, weights, strict=True):
        part = image.take(index, axis).astype(np.float32)
        part *= weight.reshape(shape)
        total = part if total is None else np.add(total, part, out=total)
    assert total is not None
    return total


@lru_cache(maxsize=256)
def _taps(size: int, new_size: int, method: str) -> tuple[Image, Image]:
    """Which old pixels each new one is made of, and how much of them: [taps, new_size]."""
    scale = np.float32(size) / np.float32(new_size)
    at = np.arange(new_size, dtype=np.float32) * scale
    first = np.floor(at).astype(np.int64)
    rest = at - first
    if method == "nearest":
        indices, weights = [first], [np.ones(new_size)]
    elif method == "bilinear":
        indices, weights = [first, first + 1], [1 - rest, rest]
    elif method == "bicubic":
        x = np.rint(rest * _CUBIC_TABLE) / _CUBIC_TABLE
        indices = [first - 1, first, first + 1, first + 2]
        weights = [_cubic(1 + x), _cubic(x), _cubic(1 - x), _cubic(2 - x)]
    else:
        end = at + scale
        indices = [first + tap for tap in range(int(np.ceil(scale)) + 1)]
        cover = [np.minimum(i + 1, end) - np.maximum(i, at) for i in indices]
        weights = [np.maximum(part, 0) / scale for part in cover]
    clipped = np.clip(np.stack(indices), 0, size - 1)
    return clipped, np.stack(weights).astype(np.float32)


def _cubic(distance: Image) -> Image:
    """Keys' kernel."""
    a, x = _CUBIC_A, distance
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, far)


def mirrored(image: Image) -> Image:
    """The image with left and right exchanged."""
    cv2 = opencv()
    if cv2 is None:
        return image[:, ::-1]
    turned: Image = cv2.flip(image, 1).reshape(image.shape)
    return turned


@lru_cache(maxsize=1)
def _opencv_warp() -> Any:
    """Bilinear resizing with OpenCV, six times as fast; None where OpenCV is not exact.

    Before version 5 it rounds positions to 1/32 of a pixel.
    """
    cv2 = opencv()
    if cv2 is None or int(cv2.__version__.split(".")[0]) < 5:
        return None
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

    def warp(image: Image, height: int, width: int) -> Image:
        scales = [[image.shape[1] / width, 0, 0], [0, image.shape[0] / height, 0]]
        channels = image.shape[2]
        if image.dtype != np.uint8:
            image = image.astype(np.float32)
        if channels == 3:  # a fourth one makes it twice as fast
            image = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
        warped: Image = cv2.warpAffine(
            image.astype(np.float32, copy=False),
            np.array(scales),
            (width, height),
            flags=flags,
            borderMode=cv2.BORDER_REPLICATE,
        )
        if channels == 3:
            warped = cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB)
        return warped.reshape(height, width, channels)

    return warp
