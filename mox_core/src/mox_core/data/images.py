"""Image files to pixels, equal to what every other engine's decoder gives.

OpenCV decodes fastest; Pillow stands in where it is not installed, and for files that this build of
OpenCV does not know.
"""

from __future__ import annotations

import io
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from mox_core._opencv import opencv
from mox_core.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Image = npt.NDArray[np.uint8]

__all__ = ["decode_image", "has_opencv", "image_size_of", "resize_nearest"]

_JPEG = b"\xff\xd8"
_START_OF_SCAN = b"\xff\xda"
_END_OF_IMAGE = b"\xff\xd9"


def decode_image(data: bytes, channels: int = 3) -> Image:
    """Decodes an image file.

    Grey images, palettes, CMYK and 16 bits per channel become 8-bit RGB; of an animation the first
    picture counts, transparency is left out. Pixels are as they are stored: the orientation in a
    camera's notes is not applied, as nowhere in TensorFlow.

    Args:
        data: content of a JPEG, PNG, GIF, BMP, WebP or TIFF file.
        channels: 3 for RGB, 1 for grey.

    Returns:
        uint8 [height, width, channels].

    Raises:
        DataError: it is no image, or a damaged one, or there is no decoder.
    """
    import numpy as np

    image: Any = None
    cv2 = opencv()
    if data and cv2 is not None:
        flags = _flags()
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags[channels])
        except cv2.error:
            image = None
        if image is not None:
            if channels == 3 and not flags["rgb"]:
                image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            if data.startswith(_JPEG) and not _is_whole_jpeg(data):
                raise DataError("is a JPEG file that is cut off")
    if image is None:
        image = _decode_with_pillow(data, channels, required=cv2 is None)
    return image if image.ndim == 3 else image[:, :, None]  # type: ignore[no-any-return]


def has_opencv() -> bool:
    """Whether OpenCV is installed, which decodes and resizes fastest."""
    return opencv() is not None


@cache
def _flags() -> dict[Any, Any]:
    """OpenCV's flags, by channels."""
    cv2 = opencv()
    as_stored = cv2.IMREAD_IGNORE_ORIENTATION
    rgb = getattr(cv2, "IMREAD_COLOR_RGB", None)  # since 4.10
    colour = cv2.IMREAD_COLOR if rgb is None else rgb
    return {3: colour | as_stored, 1: cv2.IMREAD_GRAYSCALE | as_stored, "rgb": rgb is not None}


def _is_whole_jpeg(data: bytes) -> bool:
    """Whether the last scan ends. Older versions of OpenCV fill up what is missing with grey."""
    if data.endswith(_END_OF_IMAGE):
        return True
    return data.rfind(_END_OF_IMAGE) > data.rfind(_START_OF_SCAN)


def _decode_with_pillow(data: bytes, channels: int, *, required: bool) -> Image:
    import numpy as np

    if not data:
        raise DataError("is empty")
    try:
        from PIL import Image as pillow  # noqa: N813
    except ImportError:
        if not required:
            raise DataError("is no image, or a damaged one") from None
        raise DataError(
            "cannot be decoded: neither OpenCV nor Pillow is installed.\n"
            "  Install one with:  pip install mox-core[images]"
        ) from None
    try:
        with pillow.open(io.BytesIO(data)) as opened:
            image: Any = opened
            if image.mode.startswith("I;16"):  # Pillow cuts these off at 255
                image = pillow.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            return np.array(image.convert("RGB" if channels == 3 else "L"))
    except Exception as error:
        kind = str(error).replace(str(io.BytesIO), "").partition("<")[0].strip()
        what = "is no image" if "cannot identify" in kind else f"is damaged ({kind})"
        raise DataError(what) from None


def image_size_of(size: Any) -> tuple[int, int] | None:
    """Height and width of an argument `image_size`: a number, two numbers, or None.

    Raises:
        DataError: it is something else.
    """
    if size is None:
        return None
    try:
        pair = (int(size), int(size)) if isinstance(size, int) else tuple(map(int, size))
    except (TypeError, ValueError):
        pair = ()
    if len(pair) != 2 or min(pair) < 1:
        raise DataError(f"image_size is {size!r}: give a number of pixels, or (height, width).")
    return pair


def resize_nearest(image: Image, size: tuple[int, int]) -> Image:
    """Resizes by taking the nearest pixel, exactly as TensorFlow 1 does.

    Args:
        image: uint8 [height, width, channels].
        size: new height and width.

    Source: tensorflow/core/kernels/image/resize_nearest_neighbor_op.cc, without align_corners.
    """
    height, width = size
    rows, columns = image.shape[:2]
    if (rows, columns) == size:
        return image
    cv2 = opencv()
    if cv2 is not None and _same_in_opencv(rows, height) and _same_in_opencv(columns, width):
        resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST)
        return resized.reshape(height, width, image.shape[2])  # type: ignore[no-any-return]
    down = image.take(_nearest(rows, height), axis=0)
    return down.take(_nearest(columns, width), axis=1)


@lru_cache(maxsize=4096)
def _nearest(old: int, new: int) -> npt.NDArray[np.int64]:
    """Which of the old pixels each new one takes."""
    import numpy as np

    scale = np.float32(old) / np.float32(new)
    places = np.floor(np.arange(new, dtype=np.float32) * scale).astype(np.int64)
    nearest: npt.NDArray[np.int64] = np.minimum(places, old - 1)
    return nearest


@lru_cache(maxsize=4096)
def _same_in_opencv(old: int, new: int) -> bool:
    """Whether OpenCV, which computes in double precision, takes the same pixels."""
    import numpy as np

    cv2 = opencv()
    line = np.arange(old, dtype=np.float32)[None]
    taken = cv2.resize(line, (new, 1), interpolation=cv2.INTER_NEAREST)[0]
    return bool((taken == _nearest(old, new)).all())
