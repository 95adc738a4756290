"""The readers that benchmarks/data.py compares, by case: mox, and pipelines written by hand.

A reader is a function that takes a Job, reads all images as often as it says, and returns how long
that took. Readers of a case give the same kind of batches; add one with `@reader`. `decoding alone`
is no pipeline: it decodes images that are in memory already, on all cores, and throws them away.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

BATCH, SIZE = 32, 224


@dataclass
class Job:
    """What a reader reads.

    Args:
        images: folder or URL with a folder per class.
        records: folder or URL with TFRecord files.
        cache: folder for local copies, or None.
        epochs: how often.
    """

    images: str
    records: str
    cache: str | None
    epochs: int = 1


@dataclass
class Timed:
    """What a reader measured: without what happens once, such as listing files."""

    images: int
    seconds: float
    cpu_seconds: float


Reader = Callable[[Job], Timed]
CASES: dict[str, dict[str, Reader]] = {}
IMPORTS: dict[str, tuple[str, ...]] = {
    "torch": ("torch", "mox_torch.data"),
    "tf": ("tensorflow", "mox_tf.datasets.named"),
}
"""First word of a case -> what is imported before the clock starts."""


def reader(case: str, name: str) -> Callable[[Reader], Reader]:
    """Adds a reader to a case."""

    def add(function: Reader) -> Reader:
        CASES.setdefault(case, {})[name] = function
        return function

    return add


def cpu_seconds() -> float:
    """CPU time of this process and its children so far."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


# ---- mox, without a framework --------------------------------------------------------------------


def raw(mox, job: Job, **options):
    """The folder of images, as a data set of mox_core, mox_torch or mox_tf."""
    mox.set_flag("silent", True)
    meta = mox.ImageClassificationRawMetadata(job.images)
    return mox.ImageClassificationRawDataset(meta, BATCH, **in_common(job), **options)


def records(mox, job: Job, **options):
    """The same of the TFRecord files."""
    mox.set_flag("silent", True)
    meta = mox.ImageClassificationTFRecordMetadata(job.records, "*.tfrecord")
    return mox.ImageClassificationTFRecordDataset(meta, BATCH, **in_common(job), **options)


def in_common(job: Job):
    return {
        "num_epochs": job.epochs,
        "cache_dir": job.cache,
        "remove_cache_on_finish": False,
    }


def augmentation(mox):
    return mox.get_data_augmentation_fn("resnet_v1_50", mox.ModeKeys.TRAIN, SIZE, SIZE)


def drained(batches) -> Timed:
    """Reads batches, of which the last column is the labels, to their end."""
    began, used = time.perf_counter(), cpu_seconds()
    seen = sum(len(batch[-1]) for batch in batches)
    return Timed(seen, time.perf_counter() - began, cpu_seconds() - used)


@reader("bytes", "mox")
def mox_bytes(job):
    import mox_core as mox

    return drained(raw(mox, job).get(["image_buf", "label"]))


@reader("bytes", "mox, processes")
def mox_bytes_processes(job):
    import mox_core as mox

    dataset = raw(mox, job, reader_class=mox.AsyncRawGenerator, num_readers=2)
    return drained(dataset.get(["image_buf", "label"]))


@reader("resized", "mox")
def mox_resized(job):
    import mox_core as mox

    return drained(raw(mox, job, image_size=SIZE))


@reader("augmented", "mox")
def mox_augmented(job):
    import mox_core as mox

    return drained(raw(mox, job, augmentation_fn=augmentation(mox)))


@reader("tfrecord", "mox")
def mox_tfrecord(job):
    import mox_core as mox

    return drained(records(mox, job, image_size=SIZE))


# ---- By hand, without a framework ----------------------------------------------------------------


def by_hand(job, load):
    """Files in a random order through a thread pool, batched."""
    return through_threads(job, *listed(job), load)


def through_threads(job, files, labels, load):
    """What `load` makes of each file, in a random order, batched."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    chance = np.random.default_rng(0)
    order = np.concatenate([chance.permutation(len(files)) for _ in range(job.epochs)])

    def batches():
        with ThreadPoolExecutor(cores() + 1) as pool:
            images = pool.map(load, [files[index] for index in order])
            for begin in range(0, len(order), BATCH):
                some = order[begin : begin + BATCH]
                batch = [image for _, image in zip(some, images, strict=False)]
                if not isinstance(batch[0], bytes):
                    batch = np.stack(batch)
                yield batch, [labels[index] for index in some]

    return drained(batches())


@reader("resized", "obstore by hand")
def obstore_resized(job):
    """The same from a bucket, with the fastest client; what is local is read as `by hand`."""
    if not job.images.startswith("s3://"):
        return by_hand(job, nearest_with_opencv)
    from obstore.store import S3Store

    bucket, _, folder = job.images.removeprefix("s3://").partition("/")
    store = S3Store(
        bucket,
        prefix=folder,
        endpoint="http://" + os.environ["S3_ENDPOINT"],
        access_key_id=os.environ["ACCESS_KEY_ID"],
        secret_access_key=os.environ["SECRET_ACCESS_KEY"],
        region="us-east-1",
        client_options={"allow_http": True},
    )
    names = sorted(entry["path"] for page in store.list() for entry in page)
    labels = [int(name[1]) for name in names]

    def load(name):
        return nearest_in_opencv(decode(store.get(name).bytes()))

    return through_threads(job, names, labels, load)


def listed(job):
    files = sorted(str(path) for path in Path(job.images).glob("*/*.jpg"))
    return files, [int(Path(path).parent.name[1:]) for path in files]


def cores():
    return len(os.sched_getaffinity(0))


@reader("bytes", "by hand")
def hand_bytes(job):
    return by_hand(job, lambda path: Path(path).read_bytes())


def decode(data):
    import cv2
    import numpy as np

    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


@reader("resized", "by hand")
def hand_resized(job):
    return by_hand(job, nearest_with_opencv)


@reader("augmented", "by hand")
def hand_augmented(job):
    import numpy as np

    means = np.array([123.68, 116.78, 103.94], np.float32)
    chance = np.random.default_rng(0)
    return by_hand(job, lambda path: load_with_opencv(path, chance) - means)


def decode_some(files):
    contents = [Path(path).read_bytes() for path in files]
    began, used = time.perf_counter(), cpu_seconds()
    for content in contents:
        decode(content)
    return time.perf_counter() - began, cpu_seconds() - used


@reader("resized", "decoding alone")
@reader("torch resized", "decoding alone")
def opencv_alone(job):
    import multiprocessing

    files, _ = listed(job)
    with multiprocessing.get_context("fork").Pool(cores()) as pool:
        done = pool.map(decode_some, [files[number :: cores()] for number in range(cores())], 1)
    seconds, cpu = zip(*done, strict=True)
    return Timed(len(files), max(seconds), sum(cpu))


# ---- PyTorch -------------------------------------------------------------------------------------


@reader("torch bytes", "mox")
def torch_bytes(job):
    import mox_torch as mox

    return drained(raw(mox, job).get(["image_buf", "label"]))


@reader("torch resized", "mox")
def torch_resized(job):
    import mox_torch as mox

    return drained(raw(mox, job, image_size=SIZE))


@reader("torch augmented", "mox")
def torch_augmented(job):
    import mox_torch as mox

    return drained(raw(mox, job, augmentation_fn=augmentation(mox)))


@reader("torch augmented", "mox, processes")
def torch_processes(job):
    import mox_torch as mox

    options = {"num_workers": cores()}
    return drained(raw(mox, job, augmentation_fn=augmentation(mox), loader_options=options))


@reader("torch tfrecord", "mox")
def torch_tfrecord(job):
    import mox_torch as mox

    return drained(records(mox, job, image_size=SIZE))


class ImageFolder:
    """What torchvision's ImageFolder does, which does not import beside a CPU build of PyTorch.

    Args:
        job: the folder.
        load: path, random numbers -> pixels.
        normalize: with torchvision's ToTensor and Normalize.
    """

    def __init__(self, job, load, normalize=False):
        self.files, self.labels = listed(job)
        self.load = load
        self.normalize = normalize

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        import numpy as np
        import torch

        pixels = torch.from_numpy(self.load(self.files[index], np.random.default_rng(index)))
        if not self.normalize:
            return pixels, self.labels[index]
        image = pixels.permute(2, 0, 1).float().div_(255)  # ToTensor
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        return image.sub_(mean[:, None, None]).div_(std[:, None, None]), self.labels[index]


def vgg_window(width, height, chance):
    """Scale the smaller side to 256..512, cut 224 x 224: what resnet_v1_50's augmentation does."""
    side = int(chance.integers(256, 513))
    scale = side / min(width, height)
    left = int(chance.integers(0, int(width * scale) - SIZE + 1))
    top = int(chance.integers(0, int(height * scale) - SIZE + 1))
    return [round(x / scale) for x in (left, top, left + SIZE, top + SIZE)]


def load_with_pillow(path, chance):
    import numpy as np
    from PIL import Image

    image = Image.open(path).convert("RGB")
    box = vgg_window(*image.size, chance)
    image = image.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=box)
    if chance.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.array(image)


def load_with_opencv(path, chance):
    import cv2
    import numpy as np

    image = decode(Path(path).read_bytes())
    left, top, right, bottom = vgg_window(image.shape[1], image.shape[0], chance)
    image = cv2.resize(image[top:bottom, left:right], (SIZE, SIZE))
    return np.ascontiguousarray(image[:, ::-1]) if chance.random() < 0.5 else image


def nearest_with_pillow(path, chance):
    import numpy as np
    from PIL import Image

    image = Image.open(path).convert("RGB")
    return np.array(image.resize((SIZE, SIZE), Image.Resampling.NEAREST))


def nearest_with_opencv(path, chance=None):
    return nearest_in_opencv(decode(Path(path).read_bytes()))


def nearest_in_opencv(image):
    import cv2

    return cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST)


def data_loader(job, load, **options):
    from torch.utils.data import DataLoader

    loader = DataLoader(
        ImageFolder(job, load, **options), batch_size=BATCH, shuffle=True, num_workers=cores()
    )
    return drained(batch for _ in range(job.epochs) for batch in loader)


@reader("torch resized", "ImageFolder, Pillow")
def folder_pillow_resized(job):
    return data_loader(job, nearest_with_pillow)


@reader("torch resized", "ImageFolder, opencv")
def folder_opencv_resized(job):
    return data_loader(job, nearest_with_opencv)


@reader("torch augmented", "ImageFolder, Pillow")
def folder_pillow(job):
    return data_loader(job, load_with_pillow, normalize=True)


@reader("torch augmented", "ImageFolder, opencv")
def folder_opencv(job):
    return data_loader(job, load_with_opencv, normalize=True)


# ---- TensorFlow ----------------------------------------------------------------------------------


def drain(make) -> Timed:
    """Runs a pipeline to its end: `make` returns tensors of a batch, the last one the labels.

    The clock starts after the first batch: building a graph takes a second, for all alike.
    """
    import tensorflow.compat.v1 as tf

    with tf.Graph().as_default(), tf.Session() as session:
        tensors = make()
        # Batches stay in TensorFlow, where a model would take them.
        step = session.make_callable([tf.size(tensors[-1]), tf.group(*tensors)])
        step()
        seen = 0
        began, used = time.perf_counter(), cpu_seconds()
        try:
            while True:
                seen += int(step()[0])
        except tf.errors.OutOfRangeError:
            return Timed(seen, time.perf_counter() - began, cpu_seconds() - used)


def tf_hand(job, load):
    """What an expert writes: files in a random order, everything in parallel maps."""
    import tensorflow as tf

    files, labels = listed(job)

    def make():
        dataset = tf.data.Dataset.from_tensor_slices((files, labels)).shuffle(len(files))
        dataset = dataset.repeat(job.epochs)
        dataset = dataset.map(lambda path, label: (load(path), label), tf.data.AUTOTUNE)
        dataset = dataset.batch(BATCH).prefetch(tf.data.AUTOTUNE)
        return tf.compat.v1.data.make_one_shot_iterator(dataset).get_next()

    return drain(make)


@reader("tf nothing", "mox")
def tf_nothing(job):
    """Names and labels alone: what a pipeline costs besides reading and decoding."""
    import mox_tf as mox

    return drain(lambda: raw(mox, job).get(["image_name", "label"]))


@reader("tf nothing", "tf.data by hand")
def tf_nothing_hand(job):
    import tensorflow as tf

    return tf_hand(job, tf.strings.length)


@reader("tf bytes", "mox")
def tf_bytes(job):
    import mox_tf as mox

    return drain(lambda: raw(mox, job).get(["image_buf", "label"]))


@reader("tf bytes", "tf.data by hand")
def tf_bytes_hand(job):
    import tensorflow as tf

    return tf_hand(job, tf.io.read_file)


@reader("tf resized", "mox")
def tf_resized(job):
    import mox_tf as mox

    return drain(lambda: raw(mox, job, image_size=SIZE).get(["image", "label"]))


@reader("tf resized", "mox, processes")
def tf_resized_processes(job):
    import mox_tf as mox

    options = {"reader_class": mox.AsyncRawGenerator, "num_readers": 2}
    return drain(lambda: raw(mox, job, image_size=SIZE, **options).get(["image", "label"]))


def tf_decode_resize(content):
    import tensorflow as tf

    image = tf.io.decode_jpeg(content, 3)[tf.newaxis]
    return tf.compat.v1.image.resize_nearest_neighbor(image, [SIZE, SIZE])[0]


@reader("tf resized", "tf.data by hand")
def tf_resized_hand(job):
    import tensorflow as tf

    return tf_hand(job, lambda path: tf_decode_resize(tf.io.read_file(path)))


@reader("tf augmented", "mox")
def tf_augmented(job):
    import mox_tf as mox

    augment = augmentation(mox)
    return drain(lambda: raw(mox, job, augmentation_fn=augment).get(["image", "label"]))


@reader("tf augmented", "tf.data by hand")
def tf_augmented_hand(job):
    """The window is drawn first, and only it is decoded, resized, mirrored, and made floats."""
    import tensorflow as tf

    def load(path):
        content = tf.io.read_file(path)
        shape = tf.image.extract_jpeg_shape(content)[:2]
        side = tf.random.uniform([], 256, 513, tf.int32)
        scale = side / tf.reduce_min(shape)
        whole = tf.cast(tf.round(tf.cast(shape, tf.float64) * scale), tf.int32)
        top = tf.random.uniform([], 0, whole[0] - SIZE + 1, tf.int32)
        left = tf.random.uniform([], 0, whole[1] - SIZE + 1, tf.int32)
        size = tf.minimum(tf.cast(tf.round(SIZE / scale), tf.int32), tf.reduce_min(shape))
        begin = tf.cast(tf.round(tf.cast([top, left], tf.float64) / scale), tf.int32)
        begin = tf.minimum(begin, shape - size)
        window = tf.image.decode_and_crop_jpeg(content, [begin[0], begin[1], size, size], 3)
        image = tf.compat.v1.image.resize_bilinear(window[tf.newaxis], [SIZE, SIZE])[0]
        image = tf.image.random_flip_left_right(image)
        return image - [123.68, 116.78, 103.94]

    return tf_hand(job, load)


@reader("tf augmented", "TF-slim's order by hand")
def tf_augmented_slim(job):
    """The whole image is decoded and resized before the window is cut: what scripts usually do."""
    import tensorflow as tf

    def load(path):
        image = tf.io.decode_jpeg(tf.io.read_file(path), 3)
        shape = tf.shape(image)[:2]
        scale = tf.random.uniform([], 256, 513, tf.int32) / tf.reduce_min(shape)
        whole = tf.cast(tf.round(tf.cast(shape, tf.float64) * scale), tf.int32)
        image = tf.compat.v1.image.resize_bilinear(image[tf.newaxis], whole)[0]
        image = tf.image.random_flip_left_right(tf.image.random_crop(image, [SIZE, SIZE, 3]))
        return image - [123.68, 116.78, 103.94]

    return tf_hand(job, load)


@reader("tf tfrecord", "mox")
def tf_tfrecord(job):
    import mox_tf as mox

    return drain(lambda: records(mox, job, image_size=SIZE).get(["image", "label"]))


@reader("tf tfrecord", "tf.data by hand")
def tf_tfrecord_hand(job):
    """A buffer of 1,024 records to shuffle, as scripts have it; mox draws from 6,400."""
    import tensorflow as tf

    def load(record):
        features = {
            "image/encoded": tf.io.FixedLenFeature([], tf.string),
            "image/class/label": tf.io.FixedLenFeature([], tf.int64),
        }
        parsed = tf.io.parse_single_example(record, features)
        return tf_decode_resize(parsed["image/encoded"]), parsed["image/class/label"]

    def make():
        files = tf.data.Dataset.list_files(f"{job.records}/*.tfrecord")
        records = files.interleave(tf.data.TFRecordDataset, 8, num_parallel_calls=tf.data.AUTOTUNE)
        dataset = records.shuffle(1024).repeat(job.epochs)
        dataset = dataset.map(load, tf.data.AUTOTUNE).batch(BATCH)
        return tf.compat.v1.data.make_one_shot_iterator(
            dataset.prefetch(tf.data.AUTOTUNE)
        ).get_next()

    return drain(make)


@reader("tf resized", "decoding alone")
def tf_decoding_alone(job):
    """Contents in memory, decoded by as many threads as there are cores, one image per call."""
    from concurrent.futures import ThreadPoolExecutor

    import tensorflow.compat.v1 as tf

    contents = [Path(path).read_bytes() for path in listed(job)[0]]
    config = tf.ConfigProto(inter_op_parallelism_threads=cores())
    with tf.Graph().as_default(), tf.Session(config=config) as session:
        content = tf.placeholder(tf.string, [])
        decoded = session.make_callable(tf.io.decode_jpeg(content, 3).op, [content])

        def decode_part(part):
            for one in contents[part :: cores()]:
                decoded(one)

        with ThreadPoolExecutor(cores()) as pool:
            began, used = time.perf_counter(), cpu_seconds()
            list(pool.map(decode_part, range(cores())))
            return Timed(len(contents), time.perf_counter() - began, cpu_seconds() - used)
