"""Images and uploads for the tests of data sets."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest


def noise(seed, height=12, width=16):
    """An image that survives JPEG well enough to be told from others."""
    small = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    return small.repeat(4, axis=0).repeat(4, axis=1)


def encode(image, extension=".jpg", *options):
    cv2 = pytest.importorskip("cv2")
    done, data = cv2.imencode(extension, np.ascontiguousarray(image[..., ::-1]), options)
    assert done
    return data.tobytes()


def upload(store, folder, prefix):
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            store.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())
    return f"s3://bucket/{prefix}"


def save(image, kind, **options):
    """The content of an image file that Pillow writes."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def kinds_of_image_files():
    """Name -> content: one picture in all kinds of files that become the same RGB everywhere."""
    pillow = pytest.importorskip("PIL.Image")
    picture = pillow.fromarray(noise(3, 24, 32))
    more = {"save_all": True, "append_images": [pillow.fromarray(255 - noise(3, 24, 32))]}
    rotated = pillow.Exif()
    rotated[0x112] = 6
    return {
        "jpeg": save(picture, "JPEG", quality=92),
        "progressive": save(picture, "JPEG", progressive=True),
        "grey jpeg": save(picture.convert("L"), "JPEG"),
        "rotated by exif": save(picture, "JPEG", exif=rotated),
        "png": save(picture, "PNG"),
        "palette": save(picture.convert("P"), "PNG"),
        "black and white": save(picture.convert("1"), "PNG"),
        "transparent": save(picture.convert("RGBA"), "PNG"),
        "gif": save(picture.convert("P"), "GIF"),
        "animated gif": save(picture, "GIF", **more),
        "animated webp": save(picture, "WEBP", lossless=True, minimize_size=False, **more),
        "bmp": save(picture, "BMP"),
        "tiff": save(picture, "TIFF"),
        "cmyk": save(picture.convert("CMYK"), "JPEG", quality=95),
        "16 bits": encode(noise(3, 24, 32).astype(np.uint16) * 257, ".png"),
    }
