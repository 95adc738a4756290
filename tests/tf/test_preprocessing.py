"""Preprocessing on tensors: against TF-slim's arithmetic, and against the NumPy reference."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import mox_core
import mox_tf as mox
from mox_core.errors import SpecError
from mox_core.preprocessing import get_augmentation, steps
from mox_core.preprocessing.numpy_lowering import apply_steps as numpy_steps
from mox_tf.preprocessing.lowering import Decoded, apply_drawn

cv2 = pytest.importorskip("cv2")

NAMES = ["resnet_v1_50", "inception_v3", "cifarnet", "lenet", "pvanet"]


@pytest.fixture(scope="module")
def photo():
    """Smooth colours and some noise, 333 x 500, as a decoder gives it."""
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[0:333, 0:500]
    waves = [np.sin(rows / 40 + k) * np.cos(columns / (33 + k)) for k in range(3)]
    noise = rng.normal(0, 12, (333, 500, 3))
    return np.clip(128 + 100 * np.stack(waves, 2) + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def jpeg(photo):
    return cv2.imencode(".jpg", photo[..., ::-1])[1].tobytes()


def value(make, **feeds):
    """What a graph gives: `make` gets a placeholder for each array or bytes."""
    with tf.Graph().as_default(), tf.Session() as session:
        tensors = {}
        for name, fed in feeds.items():
            dtype, shape = (tf.string, []) if isinstance(fed, bytes) else (fed.dtype, [None] * 3)
            tensors[name] = tf.placeholder(dtype, shape)
            if shape:
                tensors[name].set_shape([None, None, fed.shape[2]])
        result = make(**tensors)
        return session.run(result, {tensors[name]: fed for name, fed in feeds.items()})


# What TF-slim publishes for evaluation, in TensorFlow's own operations and slim's constants.
def slim_vgg(image):
    # The smaller side becomes 256: 333 x 500 -> 256 x rint(384.38).
    image = tf.image.resize_bilinear(image[None], [256, 384])[0]
    image = image[16:240, 80:304]
    return image - [123.68, 116.78, 103.94]


def slim_inception(image):
    image = tf.image.convert_image_dtype(image, tf.float32)
    image = tf.image.central_crop(image, 0.875)
    image = tf.image.resize_bilinear(image[None], [299, 299], align_corners=False)[0]
    return (image - 0.5) * 2


def slim_cifarnet(image):
    image = tf.image.resize_image_with_crop_or_pad(tf.cast(image, tf.float32), 32, 32)
    return tf.image.per_image_standardization(image)


def slim_lenet(image):
    return (
        tf.image.resize_image_with_crop_or_pad(tf.cast(image, tf.float32), 28, 28) - 128
    ) / 128.0


SLIM = {
    "resnet_v1_50": (slim_vgg, 255),
    "inception_v3": (slim_inception, 2),
    "cifarnet": (slim_cifarnet, 6),
    "lenet": (slim_lenet, 2),
}


@pytest.mark.parametrize("name", SLIM)
def test_evaluation_is_that_of_tf_slim(name, photo):
    slim, span = SLIM[name]
    wanted = value(lambda image: slim(image), image=photo)
    augment = mox.get_data_augmentation_fn(name, mox.ModeKeys.EVAL)
    got = value(lambda image: augment(image), image=photo)
    np.testing.assert_allclose(got, wanted, atol=1e-5 * span)
    reference = mox_core.get_data_augmentation_fn(name, "EVAL")(photo)
    np.testing.assert_allclose(reference, wanted, atol=1e-5 * span)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", ["TRAIN", "EVAL"])
def test_decoding_only_a_part_gives_the_same_image(name, mode, photo, jpeg):
    augment = mox.get_data_augmentation_fn(name, mode)
    seed = [7, 9]

    def both(content):
        whole = augment(tf.io.decode_jpeg(content, 3, dct_method="INTEGER_ACCURATE"), seed)
        return whole, augment.decode(content, seed)

    whole, part = value(both, content=jpeg)
    assert part.dtype == np.float32 and part.shape == whole.shape
    if (name, mode) in {("resnet_v1_50", "TRAIN"), ("inception_v3", "TRAIN")}:
        # The decoder smooths colours across the window's edge from what it has decoded.
        assert np.abs(whole - part).mean() < 0.002 * np.ptp(whole)
    else:
        np.testing.assert_allclose(part, whole, atol=2e-2 * np.ptp(whole))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in NAMES),
        ("inception_v3", {"fast_mode": False}),
        ("inception_v3", {"use_grayscale": True}),
        ("cifarnet", {"use_grayscale": True}),
    ],
)
def test_the_same_random_numbers_give_the_same_image_as_in_numpy(name, options, photo):
    if name == "inception_v3":
        options = {**options, "crop_image": False}  # how a box is drawn is TensorFlow's own
    augmentation = get_augmentation(name, "TRAIN", 48, 40, **options)
    todo = augmentation.steps_for(255)
    rng = np.random.default_rng(1)
    draws = sum(step.draws for step in todo)
    with tf.Graph().as_default(), tf.Session() as session:
        numbers = tf.placeholder(tf.float32, [draws])
        image = tf.placeholder(tf.uint8, [None, None, 3])
        result = apply_drawn(todo, Decoded(image), numbers, None)
        for _ in range(6):
            drawn = rng.random(draws, np.float32)
            got = session.run(result, {numbers: drawn, image: photo})
            wanted = numpy_steps(todo, photo, drawn, rng)
            np.testing.assert_allclose(got, wanted, atol=2e-5 * max(np.ptp(wanted), 1))


@pytest.mark.parametrize("method", ["bilinear", "nearest", "bicubic", "area"])
@pytest.mark.parametrize("size", [(97, 61), (400, 800), (333, 500)])
def test_resizing_in_numpy_is_that_of_tensorflow_1(method, size, photo):
    from mox_core.preprocessing.resizing import resize

    number = ["bilinear", "nearest", "bicubic", "area"].index(method)
    wanted = value(lambda image: tf.image.resize_images(image, size, number), image=photo)
    np.testing.assert_allclose(resize(photo, *size, method), wanted, atol=1e-2)


# What TF-slim publishes for training, in TensorFlow's own operations and slim's constants.
def slim_vgg_training(image):
    side = tf.random_uniform([], 64, 128 + 1, tf.int32)
    shape = tf.cast(tf.shape(image)[:2], tf.float32)
    scale = tf.cast(side, tf.float32) / tf.reduce_min(shape)
    size = tf.cast(tf.rint(shape * scale), tf.int32)
    image = tf.image.resize_bilinear(image[None], size)[0]
    image = tf.image.random_flip_left_right(tf.random_crop(image, [56, 56, 3]))
    return image - [123.68, 116.78, 103.94]


def slim_inception_training(image):
    image = tf.image.convert_image_dtype(image, tf.float32)
    begin, size, _ = tf.image.sample_distorted_bounding_box(
        tf.shape(image),
        tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
        min_object_covered=0.1,
        aspect_ratio_range=(0.75, 1.33),
        area_range=(0.05, 1.0),
        max_attempts=100,
        use_image_if_no_bounding_boxes=True,
    )
    image = tf.image.resize_bilinear(tf.slice(image, begin, size)[None], [56, 56])[0]
    image = tf.image.random_flip_left_right(image)
    image = tf.image.random_brightness(image, 32.0 / 255.0)
    image = tf.image.random_saturation(image, 0.5, 1.5)
    return (tf.clip_by_value(image, 0.0, 1.0) - 0.5) * 2


def slim_cifarnet_training(image):
    image = tf.pad(tf.cast(image, tf.float32), [[4, 4], [4, 4], [0, 0]])
    image = tf.image.random_flip_left_right(tf.random_crop(image, [56, 56, 3]))
    image = tf.image.random_contrast(tf.image.random_brightness(image, 63), 0.2, 1.8)
    return tf.image.per_image_standardization(image)


@pytest.mark.parametrize(
    ("name", "slim", "options"),
    [
        ("vgg", slim_vgg_training, {"resize_side_min": 64, "resize_side_max": 128}),
        ("inception", slim_inception_training, {}),
        ("cifarnet", slim_cifarnet_training, {}),
    ],
)
def test_training_has_the_distribution_of_tf_slim(name, slim, options):
    """What becomes of pixels, and the channels' means and deviations, in a sample of each."""
    count = 2000
    rows, columns = np.mgrid[0:80, 0:120]
    # One channel tells places and flips, the next rows, and the brightest one brightness alone.
    image = np.stack([columns, rows, np.full_like(rows, 180)], 2).astype(np.uint8)

    def seen(images):
        picked = [images[:, row, column] for row, column in ((0, 0), (28, 28), (55, 30))]
        return np.concatenate([*picked, images.mean((1, 2)), images.std((1, 2))], 1)

    in_tensors = mox.get_data_augmentation_fn(name, "TRAIN", 56, 56, seed=3, **options)
    in_numpy = mox_core.get_data_augmentation_fn(name, "TRAIN", 56, 56, seed=3, **options)
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(1)
        images = [
            tf.map_fn(lambda _, how=how: how(tf.constant(image)), tf.range(count), tf.float32)
            for how in (slim, in_tensors)
        ]
        published, tensors = session.run(images)
    wanted = seen(published)
    for ours in (seen(tensors), seen(np.stack([in_numpy(image) for _ in range(count)]))):
        for mine, other in zip(ours.T, wanted.T, strict=True):
            # Kolmogorov and Smirnov: 2.4 sqrt(2 / n) is passed twice in 100,000 such tests.
            assert farthest(mine, other) < 2.4 * (2 / count) ** 0.5


def farthest(one, other):
    """How far apart the distributions of two samples of one size are, at most."""
    grid = np.concatenate([one, other])
    shares = [np.searchsorted(np.sort(some), grid, "right") / len(one) for some in (one, other)]
    return np.abs(shares[0] - shares[1]).max()


def test_numpy_draws_boxes_like_tensorflow():
    """Two samples of each: their distributions differ no more than samples of one would."""
    count, shape = 3000, (200, 320, 3)
    step = steps.DistortedBoxCrop()
    image = np.zeros((*shape[:2], 2), np.float32)
    image[..., 0], image[..., 1] = np.mgrid[0 : shape[0], 0 : shape[1]]
    rng = np.random.default_rng(12)
    ours = []
    for _ in range(count):
        crop = numpy_steps((step,), image, np.empty(0), rng)
        ours.append((*crop[0, 0], *crop.shape[:2]))
    with tf.Graph().as_default(), tf.Session() as session:

        def draw(seed):
            begin, size, _ = tf.image.sample_distorted_bounding_box(
                shape,
                tf.zeros([1, 0, 4]),
                seed=4,
                min_object_covered=0.1,
                aspect_ratio_range=(0.75, 1.33),
                area_range=(0.05, 1.0),
                max_attempts=100,
                use_image_if_no_bounding_boxes=True,
            )
            return tf.concat([begin[:2], size[:2]], 0)

        theirs = session.run(tf.map_fn(draw, tf.range(count)))
    for mine, other in zip(np.array(ours).T, np.asarray(theirs).T, strict=True):
        # 1.95 sqrt(2 / n) is passed once in a thousand such tests.
        assert farthest(mine, other) < 1.95 * (2 / count) ** 0.5


def test_a_seed_decides_and_without_one_every_image_differs(photo):
    augment = mox.get_data_augmentation_fn("inception_v3", "TRAIN", 32, 32, seed=5)

    def four(image):
        once, other = augment(image), augment(image)
        return once, other, augment(image, [1, 2]), augment(image, [1, 2])

    first = value(four, image=photo)
    again = value(four, image=photo)
    assert (first[0] == again[0]).all()
    assert (first[2] == first[3]).all()
    assert not (first[0] == first[2]).all()


@pytest.mark.parametrize(
    ("extension", "array"),
    [
        (".jpg", np.full((40, 50), 90, np.uint8)),
        (".png", np.full((40, 50, 4), 90, np.uint8)),
        (".png", np.full((40, 50, 3), 90 * 257, np.uint16)),
        (".bmp", np.full((40, 50, 3), 90, np.uint8)),
    ],
)
def test_grey_alpha_deep_and_other_files_become_three_channels_of_bytes(extension, array):
    content = cv2.imencode(extension, array)[1].tobytes()
    augment = mox.get_data_augmentation_fn("lenet", "EVAL")
    result = value(lambda content: augment.decode(content), content=content)
    assert result.shape == (28, 28, 3)
    np.testing.assert_allclose(result, (90 - 128) / 128, atol=1e-6)


def test_the_first_picture_of_an_animation_is_taken():
    cv2_gif = pytest.importorskip("PIL.Image")
    import io

    frames = [cv2_gif.new("RGB", (30, 30), colour) for colour in ("white", "black")]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    augment = mox.get_data_augmentation_fn("lenet", "EVAL")
    result = value(lambda content: augment.decode(content), content=file.getvalue())
    np.testing.assert_allclose(result, 127 / 128)


def test_a_batch_is_refused_and_a_small_image_named(photo):
    refusal = r"(?s)takes one image .* Apply it before batching"
    with tf.Graph().as_default(), pytest.raises(SpecError, match=refusal):
        mox.get_data_augmentation_fn("vgg", "EVAL")(tf.zeros([2, 5, 5, 3]))
    augment = mox.get_data_augmentation_fn("cifarnet", "TRAIN", padding=0)
    with pytest.raises(tf.errors.InvalidArgumentError, match="smaller than the crop of 32 x 32"):
        value(lambda image: augment(image), image=photo[:20, :20])
