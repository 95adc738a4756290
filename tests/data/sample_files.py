"""Images and uploads for the tests of data sets."""

from __future__ import annotations

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
