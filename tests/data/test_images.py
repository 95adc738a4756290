"""Pixels of all kinds of image files."""

from __future__ import annotations

import io

import numpy as np
import pytest
from sample_files import encode, kinds_of_image_files

from mox_core.data import images
from mox_core.data.images import decode_image, image_size_of, resize_nearest
from mox_core.errors import DataError

Image = pytest.importorskip("PIL.Image")


def by_pillow(data, mode="RGB"):
    return np.asarray(Image.open(io.BytesIO(data)).convert(mode))


FILES = kinds_of_image_files()
# No two decoders agree on these to the last bit.
EXACT = [kind for kind in FILES if kind not in ("cmyk", "16 bits")]


@pytest.fixture(params=["opencv", "pillow"])
def decoder(request, monkeypatch):
    if request.param == "opencv":
        pytest.importorskip("cv2")
    else:
        monkeypatch.setattr(images, "opencv", lambda: None)
    return request.param


@pytest.mark.parametrize("kind", EXACT)
def test_every_kind_becomes_the_same_rgb(kind, decoder):
    image = decode_image(FILES[kind])
    assert image.dtype == np.uint8
    assert np.array_equal(image, by_pillow(FILES[kind]))


def test_cmyk_becomes_rgb(decoder):
    data = FILES["cmyk"]
    assert np.abs(decode_image(data).astype(int) - by_pillow(data)).max() <= 1


@pytest.mark.parametrize("shape", [(24, 32), (24, 32, 3)])
def test_sixteen_bits_become_eight(shape):
    pytest.importorskip("cv2")
    deep = np.random.default_rng(0).integers(0, 65536, shape, np.uint16)
    image = decode_image(encode(deep if deep.ndim == 3 else deep[..., None], ".png"))
    assert image.shape == (24, 32, 3)
    expected = (deep if deep.ndim == 3 else deep[..., None].repeat(3, 2)) >> 8
    assert np.abs(image.astype(int) - expected).max() <= 1


def test_grey_on_request(decoder):
    image = decode_image(FILES["grey jpeg"], channels=1)
    assert image.shape == (24, 32, 1)
    assert np.array_equal(image[..., 0], by_pillow(FILES["grey jpeg"], "L"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"<html>not found</html>", "is no image"),
        (FILES["jpeg"][:-200], "is damaged|cut off"),
        (FILES["jpeg"][:30], "is no image|is damaged"),
        (FILES["png"][:-40], "is no image|is damaged"),
    ],
)
def test_what_is_damaged_is_an_error(data, message, decoder):
    with pytest.raises(DataError, match=message):
        decode_image(data)


def test_rubbish_after_the_end_of_a_jpeg_does_no_harm(decoder):
    assert np.array_equal(decode_image(FILES["jpeg"] + b"\0" * 99), by_pillow(FILES["jpeg"]))


def by_tensorflow(old, new):
    """Which pixels TensorFlow 1 takes: floor(i * float32(old / new))."""
    scale = np.float32(np.float32(old) / np.float32(new))
    return [min(int(np.floor(np.float32(i) * scale)), old - 1) for i in range(new)]


@pytest.mark.parametrize("old", [(24, 32), (375, 500), (14, 1), (36, 38), (65, 70), (224, 224)])
@pytest.mark.parametrize("new", [(224, 224), (28, 100), (7, 299)])
def test_nearest_pixels_are_those_of_tensorflow(old, new, decoder):
    image = np.random.default_rng(1).integers(0, 256, (*old, 3), np.uint8)
    rows, columns = by_tensorflow(old[0], new[0]), by_tensorflow(old[1], new[1])
    assert np.array_equal(resize_nearest(image, new), image[rows][:, columns])


def test_image_sizes():
    assert image_size_of(224) == (224, 224)
    assert image_size_of([10, 20]) == (10, 20)
    for wrong in (0, "224", (1, 2, 3), (3, -1)):
        with pytest.raises(DataError, match="image_size is .*: give a number of pixels"):
            image_size_of(wrong)
