"""Preprocessing of NumPy images: what it does in evaluation, and how it varies in training."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import mox_core as mox
from mox_core.errors import SpecError
from mox_core.nets.keys import NETWORK_NAMES
from mox_core.nets.zoo import NETWORKS
from mox_core.preprocessing import Augmentation, get_augmentation
from mox_core.preprocessing.keys import PREPROCESSING
from mox_core.preprocessing.numpy_lowering import apply_steps
from mox_core.preprocessing.resizing import resize
from mox_core.preprocessing.steps import (
    CropOrPad,
    DistortedBoxCrop,
    Hue,
    Saturation,
    ScaledRandomCrop,
)

FAMILIES = ["resnet_v1_50", "inception_v3", "cifarnet", "lenet", "pvanet"]


@pytest.fixture
def photo():
    """Smooth colours and some noise, 96 x 130."""
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[0:96, 0:130]
    waves = [np.sin(rows / 9 + k) * np.cos(columns / (7 + k)) for k in range(3)]
    noise = rng.normal(0, 12, (96, 130, 3))
    return np.clip(128 + 100 * np.stack(waves, 2) + noise, 0, 255).astype(np.uint8)


def positions(height=300, width=400):
    """An image whose first channel is the row, and the second the column."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows, columns, rows * 0], 2).astype(np.float32)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("mode", ["TRAIN", "EVAL"])
def test_any_photo_gets_the_size_and_type_that_the_network_wants(name, mode, photo):
    result = mox.get_data_augmentation_fn(name, mode)(photo)
    size = PREPROCESSING[name].size
    assert (result.shape, result.dtype) == ((size, size, 3), np.float32)


@pytest.mark.parametrize("name", FAMILIES)
def test_evaluation_is_the_same_every_time_and_training_is_not(name, photo):
    for mode, same in [("EVAL", True), ("PREDICT", True), ("TRAIN", name == "lenet")]:
        augment = mox.get_data_augmentation_fn(name, mode)
        assert (augment(photo) == augment(photo)).all() == same, mode


@pytest.mark.parametrize("name", FAMILIES)
def test_a_seed_makes_training_repeat_in_another_process(name, photo):
    augment = mox.get_data_augmentation_fn(name, "TRAIN", seed=3)
    again = pickle.loads(pickle.dumps(augment))
    assert (augment(photo) == again(photo)).all()
    assert (augment(photo) == again(photo)).all()


def test_every_public_network_has_a_preprocessing_of_its_size():
    for name in NETWORKS:
        assert PREPROCESSING[name].size == mox.get_model_meta(name).default_image_size, name
    assert set(NETWORK_NAMES) <= set(PREPROCESSING)


def test_the_keys_are_the_names():
    keys = {k: v for k, v in vars(mox.PreprocessingKeys).items() if k.isupper()}
    assert set(keys.values()) == set(PREPROCESSING)
    assert all(key.lower() == value for key, value in keys.items())


def test_vgg_evaluation_is_a_central_window_of_the_resized_image_less_the_means():
    image = np.full((512, 1024, 3), 200, np.uint8)
    image[:, :512] = 100
    result = mox.get_data_augmentation_fn("vgg_16", "EVAL", 224, 224)(image)
    # 512 x 1024 becomes 256 x 512, of which columns 144 to 367 are taken: the edge is at 256.
    means = np.array([123.68, 116.78, 103.94], np.float32)
    np.testing.assert_allclose(result[:, 111] - (100 - means), 0, atol=1e-4)
    np.testing.assert_allclose(result[:, 112] - (200 - means), 0, atol=1e-4)


def test_inception_evaluation_keeps_seven_eighths_of_each_side():
    image = np.zeros((80, 160, 3), np.uint8)
    image[5:75, 10:150] = 255
    result = mox.get_data_augmentation_fn("inception_v3", "EVAL", 70, 140)(image)
    assert (result == 1).all()
    whole = mox.get_data_augmentation_fn("inception_v3", "EVAL", 80, 160, crop_image=False)(image)
    assert whole.min() == -1


def test_lenet_gives_minus_one_to_nearly_one_with_zeros_around_small_images():
    image = np.full((20, 20, 1), 255, np.uint8)
    result = mox.get_data_augmentation_fn("lenet", "TRAIN")(image)
    assert result.shape == (28, 28, 1)
    assert result.max() == np.float32(127 / 128)
    assert (result[:4] == -1).all()


def test_cifarnet_evaluation_has_mean_zero_and_deviation_one(photo):
    result = mox.get_data_augmentation_fn("cifarnet", "EVAL")(photo)
    assert abs(result.mean()) < 1e-5
    assert abs(result.std() - 1) < 1e-5
    flat = mox.get_data_augmentation_fn("cifarnet", "EVAL")(np.full((32, 32, 3), 7, np.uint8))
    assert (flat == 0).all()


# How training varies. The bounds are those of the binomial and uniform distributions at about five
# standard deviations, with fixed seeds: they fail when the rule is wrong, not by bad luck.
COUNT = 2000


def test_vgg_training_takes_all_scales_and_windows_alike():
    rng = np.random.default_rng(11)
    image = positions(256, 384)
    steps = (ScaledRandomCrop(256, 512, 224, 224),)
    tops, heights = [], []
    for _ in range(COUNT):
        window = apply_steps(steps, image, rng.random(3, np.float32), rng)
        top, bottom = window[0, 0, 0], window[-1, 0, 0]
        tops.append(top)
        # The window is 224 rows of an image of 256 to 512, so this many of the original's 256.
        heights.append((bottom - top) * 224 / 223)
        assert top >= 0 and bottom <= 255
    sides = 224 * 256 / np.array(heights)
    assert 253 < sides.min() < 262 and 506 < sides.max() < 516
    assert abs(sides.mean() - 384) < 9  # standard deviation 74, so 1.7 for the mean
    assert abs(np.mean(sides < 384) - 0.5) < 0.06
    # The first row is anywhere that the window fits.
    room = np.array(tops) / np.maximum(256 - np.array(heights), 1)
    assert abs(room[sides > 300].mean() - 0.5) < 0.04


def test_flips_are_half(photo):
    augment = mox.get_data_augmentation_fn("vgg", "TRAIN", seed=2)
    steps = augment.augmentation.steps[1:2]
    rng = np.random.default_rng(3)
    done = [apply_steps(steps, photo, rng.random(1, np.float32), rng) for _ in range(COUNT)]
    flipped = [(one == photo[:, ::-1]).all() for one in done]
    assert all((one == photo).all() for one in done if not (one == photo[:, ::-1]).all())
    assert abs(np.mean(flipped) - 0.5) < 5 * 0.5 / COUNT**0.5


def test_boxes_keep_within_their_limits_and_fill_them():
    rng = np.random.default_rng(4)
    image = positions(300, 400)
    crops = [apply_steps((DistortedBoxCrop(),), image, np.empty(0), rng) for _ in range(COUNT)]
    areas = np.array([c.shape[0] * c.shape[1] for c in crops]) / (300 * 400)
    ratios = np.array([c.shape[1] / c.shape[0] for c in crops])
    # Each covers at least a tenth of the only object, the image.
    assert 0.1 <= areas.min() < 0.13 and 0.8 < areas.max() <= 1
    assert 0.73 < ratios.min() < 0.78 and 1.28 < ratios.max() < 1.35
    assert abs(np.mean([c[0, 0, 0] == 0 for c in crops])) < 0.05  # not only in a corner


def test_a_box_covers_a_tenth_of_the_object_that_it_is_for():
    rng = np.random.default_rng(6)
    step = DistortedBoxCrop(boxes=((0.8, 0.8, 1.0, 1.0),))
    for _ in range(200):
        crop = apply_steps((step,), positions(200, 200), np.empty(0), rng)
        rows = np.clip(crop[-1, 0, 0] + 1 - 160, 0, 40)
        columns = np.clip(crop[0, -1, 1] + 1 - 160, 0, 40)
        assert rows * columns >= 0.1 * 40 * 40


def test_an_image_that_fits_no_box_is_taken_whole():
    step = DistortedBoxCrop(aspect_ratio=(0.75, 1.33), area=(0.9, 1.0))
    rng = np.random.default_rng(0)
    assert apply_steps((step,), positions(10, 100), np.empty(0), rng).shape == (10, 100, 3)


@pytest.mark.parametrize("fast_mode", [True, False])
def test_inception_colours_stay_in_range(photo, fast_mode):
    augment = mox.get_data_augmentation_fn(
        "inception_v3", "TRAIN", 64, 64, seed=1, fast_mode=fast_mode
    )
    results = np.stack([augment(photo) for _ in range(50)])
    assert results.min() >= -1 and results.max() <= 1
    assert results.std(0).min() > 0.01


def test_inception_brightness_is_uniform():
    """Grey has no saturation to change, so its brightness alone is seen."""
    grey = np.full((8, 8, 3), 128, np.uint8)
    augment = mox.get_data_augmentation_fn("inception_v3", "TRAIN", 8, 8, seed=1)
    shifts = np.array([augment(grey).mean() for _ in range(COUNT)]) - (2 * 128 / 255 - 1)
    limit = 2 * 32 / 255
    assert 0.99 * limit < shifts.max() <= limit and -limit <= shifts.min() < -0.99 * limit
    assert abs(shifts.mean()) < 5 * limit / (3 * COUNT) ** 0.5
    assert abs(shifts.std() - limit / 3**0.5) < 0.03 * limit


def test_saturation_and_hue_are_those_of_hsv():
    import colorsys

    rng = np.random.default_rng(8)
    pixels = rng.random((4, 5, 3)).astype(np.float32)
    for number in (0.0, 0.3, 0.9):
        saturated = apply_steps((Saturation(0.5, 1.5),), pixels, np.array([number]), rng)
        turned = apply_steps((Hue(0.2),), pixels, np.array([number]), rng)
        for at in np.ndindex(4, 5):
            h, s, v = colorsys.rgb_to_hsv(*pixels[at])
            wanted = colorsys.hsv_to_rgb(h, min(1, s * (0.5 + number)), v)
            np.testing.assert_allclose(saturated[at], wanted, atol=1e-5)
            wanted = colorsys.hsv_to_rgb((h - 0.2 + 0.4 * number) % 1, s, v)
            np.testing.assert_allclose(turned[at], wanted, atol=1e-5)


def test_resizing_up_in_all_methods_keeps_a_constant_and_nearest_keeps_values(photo):
    flat = np.full((7, 5, 3), 50, np.uint8)
    for method in ("bilinear", "nearest", "bicubic", "area"):
        np.testing.assert_allclose(resize(flat, 13, 3, method), 50, rtol=1e-6)
        np.testing.assert_allclose(resize(flat, 3, 13, method), 50, rtol=1e-6)
    assert set(np.unique(resize(photo, 200, 40, "nearest"))) <= set(np.unique(photo))
    # Half the size: every second pixel; the mean of each four.
    assert (resize(photo, 48, 65, "bilinear") == photo[::2, ::2]).all()
    quarters = photo.reshape(48, 2, 65, 2, 3).mean((1, 3))
    np.testing.assert_allclose(resize(photo, 48, 65, "area"), quarters, atol=1e-4)


def test_opencv_and_numpy_resize_alike(photo, monkeypatch):
    pytest.importorskip("cv2")
    from mox_core.preprocessing import resizing

    with_opencv = resize(photo, 61, 77)
    monkeypatch.setattr(resizing, "_opencv_warp", lambda: None)
    np.testing.assert_allclose(resize(photo, 61, 77), with_opencv, atol=1e-3)


def test_crop_or_pad_does_both_at_once():
    image = np.ones((10, 3, 1), np.uint8)
    result = apply_steps((CropOrPad(4, 8),), image, np.empty(0), np.random.default_rng(0))
    assert result.shape == (4, 8, 1)
    assert result[:, 2:5].all() and not result[:, :2].any() and not result[:, 5:].any()


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("resnet_v1_5", "TRAIN"), {}, "Did you mean 'resnet_v1_50'"),
        (("vgg", "TRANE"), {}, "is not a run mode"),
        (("vgg", "EVAL", 0), {}, "output_height is 0"),
        (("vgg", "EVAL", 224.5), {}, "output_height is 224.5"),
        (("vgg", "EVAL", 299), {}, "Pass a larger resize_side_min"),
        (("vgg", "EVAL"), {"resize_side_max": 100}, "below resize_side_min=256"),
        (("vgg", "EVAL"), {"fast_mode": True}, "knows: resize_side_min, resize_side_max"),
        (("inception", "TRAIN"), {"bbox": [[0, 0, 1]]}, r"a box is \[top, left, bottom, right\]"),
    ],
)
def test_arguments_that_do_not_fit_are_named(arguments, options, message):
    with pytest.raises(SpecError, match=message) as error:
        mox.get_data_augmentation_fn(*arguments, **options)
    assert isinstance(error.value, ValueError)


def test_a_batch_or_a_grey_image_is_told_apart_from_an_image(photo):
    augment = mox.get_data_augmentation_fn("vgg", "EVAL")
    with pytest.raises(SpecError, match=r"takes one image .* this has the shape \[1, 96, 130, 3\]"):
        augment(photo[np.newaxis])
    with pytest.raises(SpecError, match="means of 3 channels; this image has 1"):
        augment(photo[..., :1])
    with pytest.raises(SpecError, match="32 x 32 that preprocessing takes"):
        mox.get_data_augmentation_fn("cifarnet", "TRAIN", padding=0)(photo[:20, :20])


def test_the_description_is_plain_data_that_compares():
    one = get_augmentation("resnet_v1_50", "TRAIN")
    assert one == get_augmentation("resnet_v1_50", "train")
    assert one != get_augmentation("resnet_v1_50", "EVAL")
    assert isinstance(one, Augmentation) and "ScaledRandomCrop" in repr(one)
