"""How fast data sets are read, beside pipelines written by hand, in one run.

    python benchmarks/data.py --json benchmarks/data_results.json
    python benchmarks/data.py --cases images --only mox,torch --count 800 --rounds 3

The data are made once (`--work`): 3,671 JPEGs of 500 x 375, 222 MB in total, in five folders; the
same in eight TFRecord files. Every measurement is a process of its own that reads one epoch, in
turn, round by round, so that other load on the machine hits all of them; starting up and importing
do not count, making the pipeline does. CPU time is that of the process and its children. What the
others do is what mox does: contenders of a case give the same kind of batches. `decode limit` is no
pipeline: it decodes images that are in memory already, in one process per core, and throws them
away.

A contender is a function that takes a Job and reads all images; add one with `@contender`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

IMAGES, TOTAL_BYTES, FOLDERS, RECORD_FILES = 3671, 222_000_000, 5, 8
BATCH, SIZE = 32, 224
AK, SK, BUCKET = "TESTACCESSKEY0001", "testsecretkey0001", "bench"


@dataclass
class Job:
    """What a contender reads.

    Args:
        images: folder or URL with a folder per class.
        records: folder or URL with TFRecord files.
        cache: folder for local copies, or None.
    """

    images: str
    records: str
    cache: str | None


Contender = Callable[[Job], int]
CASES: dict[str, dict[str, Contender]] = {}


def contender(case: str, name: str) -> Callable[[Contender], Contender]:
    """Adds a contender to a case. It returns how many images it has read."""

    def add(function: Contender) -> Contender:
        CASES.setdefault(case, {})[name] = function
        return function

    return add


# ---- mox, without a framework --------------------------------------------------------------------


def mox_raw(job: Job, **options):
    import mox_core as mox

    mox.set_flag("silent", True)
    meta = mox.ImageClassificationRawMetadata(job.images)
    return mox.ImageClassificationRawDataset(
        meta, BATCH, num_epochs=1, cache_dir=job.cache, remove_cache_on_finish=False, **options
    )


def mox_records(job: Job, **options):
    import mox_core as mox

    mox.set_flag("silent", True)
    meta = mox.ImageClassificationTFRecordMetadata(job.records, "*.tfrecord")
    return mox.ImageClassificationTFRecordDataset(
        meta, BATCH, num_epochs=1, cache_dir=job.cache, remove_cache_on_finish=False, **options
    )


def augmentation():
    import mox_core as mox

    return mox.get_data_augmentation_fn("resnet_v1_50", mox.ModeKeys.TRAIN, SIZE, SIZE)


def total(batches) -> int:
    return sum(len(batch[-1]) for batch in batches)


@contender("bytes", "mox")
def mox_bytes(job):
    return total(mox_raw(job).get(["image_buf", "label"]))


@contender("bytes", "mox, processes")
def mox_bytes_processes(job):
    import mox_core as mox

    dataset = mox_raw(job, reader_class=mox.AsyncRawGenerator, num_readers=2)
    return total(dataset.get(["image_buf", "label"]))


@contender("resized", "mox")
def mox_resized(job):
    return total(mox_raw(job, image_size=SIZE))


@contender("augmented", "mox")
def mox_augmented(job):
    return total(mox_raw(job, augmentation_fn=augmentation()))


@contender("tfrecord", "mox")
def mox_tfrecord(job):
    return total(mox_records(job, image_size=SIZE))


# ---- By hand, without a framework ----------------------------------------------------------------


def by_hand(job, load):
    """Files in a random order through a thread pool, batched."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    files = [str(path) for path in Path(job.images).glob("*/*.jpg")]
    labels = [int(Path(path).parent.name[1:]) for path in files]
    order = np.random.default_rng(0).permutation(len(files))
    seen = 0
    with ThreadPoolExecutor(len(os.sched_getaffinity(0)) + 1) as pool:
        rows = []
        for image, index in zip(pool.map(load, [files[i] for i in order]), order, strict=True):
            rows.append((image, labels[index]))
            if len(rows) == BATCH:
                seen += len(make_batch(rows))
                rows = []
    return seen + len(rows)


def make_batch(rows):
    import numpy as np

    if isinstance(rows[0][0], bytes):
        return [image for image, _ in rows]
    return np.stack([image for image, _ in rows])


@contender("bytes", "by hand")
def hand_bytes(job):
    return by_hand(job, lambda path: Path(path).read_bytes())


def decode(data):
    import cv2
    import numpy as np

    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


@contender("resized", "by hand")
def hand_resized(job):
    import cv2

    def load(path):
        image = decode(Path(path).read_bytes())
        return cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST)

    return by_hand(job, load)


@contender("augmented", "by hand")
def hand_augmented(job):
    import numpy as np

    means = np.array([123.68, 116.78, 103.94], np.float32)
    chance = np.random.default_rng(0)
    return by_hand(job, lambda path: load_with_opencv(path, chance) - means)


def decode_some(job, part):
    """Decodes a part of the images, whose contents are in memory before the clock starts."""
    files = sorted(str(path) for path in Path(job.images).glob("*/*.jpg"))[part[0] :: part[1]]
    contents = [Path(path).read_bytes() for path in files]
    began = time.perf_counter()
    for content in contents:
        decode(content)
    return len(files), time.perf_counter() - began


@contender("decode limit", "opencv")
def decode_limit(job):
    import multiprocessing

    cores = len(os.sched_getaffinity(0))
    with multiprocessing.get_context("fork").Pool(cores) as pool:
        parts = [(job, (number, cores)) for number in range(cores)]
        done = pool.starmap(decode_some, parts)
        pool.close()
        pool.join()
    DECODE_SECONDS.append(max(seconds for _, seconds in done))
    return sum(count for count, _ in done)


DECODE_SECONDS: list[float] = []


# ---- PyTorch -------------------------------------------------------------------------------------


def torch_raw(job, **options):
    import mox_torch as mox

    mox.set_flag("silent", True)
    meta = mox.ImageClassificationRawMetadata(job.images)
    return mox.ImageClassificationRawDataset(
        meta, BATCH, num_epochs=1, cache_dir=job.cache, remove_cache_on_finish=False, **options
    )


@contender("torch augmented", "mox")
def torch_augmented(job):
    return total(torch_raw(job, augmentation_fn=augmentation()))


@contender("torch augmented", "mox, processes")
def torch_processes(job):
    options = {"num_workers": len(os.sched_getaffinity(0))}
    return total(torch_raw(job, augmentation_fn=augmentation(), loader_options=options))


class ImageFolder:
    """What torchvision's ImageFolder does, with its usual training transforms, over Pillow."""

    def __init__(self, folder, decoder):
        self.files = sorted(str(path) for path in Path(folder).glob("*/*.jpg"))
        self.labels = [int(Path(path).parent.name[1:]) for path in self.files]
        self.decoder = decoder

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        import numpy as np
        import torch

        load = load_with_pillow if self.decoder == "pillow" else load_with_opencv
        pixels = torch.from_numpy(load(self.files[index], np.random.default_rng(index)))
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


def data_loader(job, decoder):
    from torch.utils.data import DataLoader

    loader = DataLoader(
        ImageFolder(job.images, decoder),
        batch_size=BATCH,
        shuffle=True,
        num_workers=len(os.sched_getaffinity(0)),
    )
    return total(loader)


@contender("torch augmented", "ImageFolder, Pillow")
def folder_pillow(job):
    return data_loader(job, "pillow")


@contender("torch augmented", "ImageFolder, opencv")
def folder_opencv(job):
    return data_loader(job, "opencv")


for function in (torch_augmented, torch_processes, folder_pillow, folder_opencv):
    function.imports = ("torch", "mox_torch.data")


# ---- TensorFlow ----------------------------------------------------------------------------------


def drain(make) -> int:
    """Runs a pipeline to its end: `make` returns tensors of a batch, the last one the labels.

    The clock starts after the first batch: building a graph takes a second, for all alike.
    """
    import tensorflow.compat.v1 as tf

    with tf.Graph().as_default(), tf.Session() as session:
        tensors = make()
        # Batches stay in TensorFlow, where a model would take them.
        step = session.make_callable([tf.size(tensors[-1]), tf.group(*tensors)])
        first = seen = int(step()[0])
        began, used = time.perf_counter(), cpu_seconds()
        try:
            while True:
                seen += int(step()[0])
        except tf.errors.OutOfRangeError:
            wall, cpu = time.perf_counter() - began, cpu_seconds() - used
            rest = seen - first
            STEADY.append({"images_per_sec": rest / wall, "cpu_ms": 1e3 * cpu / rest})
            return seen


STEADY: list[dict[str, float]] = []


def tf_raw(job, keys=("image", "label"), **options):
    import mox_tf as mox

    mox.set_flag("silent", True)
    meta = mox.ImageClassificationRawMetadata(job.images)
    options = {"num_epochs": 1, "cache_dir": job.cache, "remove_cache_on_finish": False, **options}
    return drain(lambda: mox.ImageClassificationRawDataset(meta, BATCH, **options).get(keys))


def tf_augmentation():
    import mox_tf as mox

    return mox.get_data_augmentation_fn("resnet_v1_50", mox.ModeKeys.TRAIN, SIZE, SIZE)


def tf_hand(job, load, shuffle=True):
    """What an expert writes: files in a random order, everything in parallel maps."""
    import tensorflow as tf

    files = sorted(str(path) for path in Path(job.images).glob("*/*.jpg"))
    labels = [int(Path(path).parent.name[1:]) for path in files]

    def make():
        dataset = tf.data.Dataset.from_tensor_slices((files, labels)).shuffle(len(files))
        dataset = dataset.map(lambda path, label: (load(path), label), tf.data.AUTOTUNE)
        dataset = dataset.batch(BATCH).prefetch(tf.data.AUTOTUNE)
        return tf.compat.v1.data.make_one_shot_iterator(dataset).get_next()

    return drain(make)


@contender("tf bytes", "mox")
def tf_bytes(job):
    return tf_raw(job, ("image_buf", "label"))


@contender("tf bytes", "tf.data by hand")
def tf_bytes_hand(job):
    import tensorflow as tf

    return tf_hand(job, tf.io.read_file)


@contender("tf resized", "mox")
def tf_resized(job):
    return tf_raw(job, image_size=SIZE)


@contender("tf resized", "mox, processes")
def tf_resized_processes(job):
    from mox_core.data import AsyncRawGenerator

    return tf_raw(job, image_size=SIZE, reader_class=AsyncRawGenerator, num_readers=2)


def tf_decode_resize(content):
    import tensorflow as tf

    image = tf.io.decode_jpeg(content, 3)[tf.newaxis]
    return tf.compat.v1.image.resize_nearest_neighbor(image, [SIZE, SIZE])[0]


@contender("tf resized", "tf.data by hand")
def tf_resized_hand(job):
    import tensorflow as tf

    return tf_hand(job, lambda path: tf_decode_resize(tf.io.read_file(path)))


@contender("tf augmented", "mox")
def tf_augmented(job):
    return tf_raw(job, augmentation_fn=tf_augmentation())


@contender("tf augmented", "tf.data by hand")
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


@contender("tf augmented", "TF-slim's order by hand")
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


@contender("tf tfrecord", "mox")
def tf_tfrecord(job):
    import mox_tf as mox

    mox.set_flag("silent", True)
    meta = mox.ImageClassificationTFRecordMetadata(job.records, "*.tfrecord")
    return drain(
        lambda: mox.ImageClassificationTFRecordDataset(
            meta,
            BATCH,
            num_epochs=1,
            image_size=SIZE,
            cache_dir=job.cache,
            remove_cache_on_finish=False,
        ).get(["image", "label"])
    )


@contender("tf tfrecord", "tf.data by hand")
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
        dataset = records.shuffle(1024).map(load, tf.data.AUTOTUNE).batch(BATCH)
        return tf.compat.v1.data.make_one_shot_iterator(
            dataset.prefetch(tf.data.AUTOTUNE)
        ).get_next()

    return drain(make)


@contender("tf decode limit", "tf.io.decode_jpeg")
def tf_decode_limit(job):
    """Contents in memory, decoded by as many threads as there are cores, one image per call."""
    import tensorflow.compat.v1 as tf

    contents = [path.read_bytes() for path in sorted(Path(job.images).glob("*/*.jpg"))]
    cores = len(os.sched_getaffinity(0))
    config = tf.ConfigProto(inter_op_parallelism_threads=cores)
    with tf.Graph().as_default(), tf.Session(config=config) as session:
        content = tf.placeholder(tf.string, [])
        decoded = session.make_callable(tf.io.decode_jpeg(content, 3).op, [content])

        def decode_part(part):
            for one in contents[part::cores]:
                decoded(one)

        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(cores) as pool:
            began = time.perf_counter()
            list(pool.map(decode_part, range(cores)))
            DECODE_SECONDS.append(time.perf_counter() - began)
    return len(contents)


for case, contenders in CASES.items():
    if case.startswith("tf "):
        for function in contenders.values():
            function.imports = ("tensorflow", "mox_tf.datasets.named")


# ---- Data ----------------------------------------------------------------------------------------


def make_data(work: Path, count: int) -> tuple[Path, Path]:
    """Writes the images and TFRecord files, unless they are there."""
    images, records = work / f"images-{count}", work / f"records-{count}"
    if records.exists():
        return images, records
    import cv2
    import numpy as np

    from mox_core.data.example import format_example
    from mox_core.data.tfrecord import TFRecordWriter

    chance = np.random.default_rng(7)
    aim = TOTAL_BYTES / IMAGES
    for number in range(count):
        folder = images / f"d{number % FOLDERS}"
        folder.mkdir(parents=True, exist_ok=True)
        small = chance.integers(0, 256, (24, 32, 3), np.uint8)
        picture = cv2.resize(small, (500, 375), interpolation=cv2.INTER_CUBIC).astype(np.int16)
        grain = chance.integers(-24, 25, (188, 250, 3), np.int16).repeat(2, 0).repeat(2, 1)
        pixels = np.clip(picture + grain[:375, :500], 0, 255).astype(np.uint8)
        quality = 90
        data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        while len(data) > aim * 1.02 and quality > 40:
            quality -= 4
            data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        (folder / f"{number:05d}.jpg").write_bytes(data)
    files = sorted(images.glob("*/*.jpg"))
    random.Random(0).shuffle(files)
    temporary = Path(tempfile.mkdtemp(dir=work))
    for part in range(RECORD_FILES):
        with TFRecordWriter(temporary / f"train-{part}.tfrecord") as writer:
            for path in files[part::RECORD_FILES]:
                label = int(path.parent.name[1:])
                features = {"image/encoded": path.read_bytes(), "image/class/label": label}
                writer.write(format_example(features))
    temporary.rename(records)
    return images, records


class RcloneServer:
    """`rclone serve s3` over the data."""

    def __init__(self, root: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        beside = Path(sys.executable).with_name("rclone")
        rclone = str(beside) if beside.exists() else shutil.which("rclone") or "rclone"
        command = [rclone, "serve", "s3", "--addr", f"127.0.0.1:{self.port}"]
        command += ["--auth-key", f"{AK},{SK}", "--config", os.devnull, str(root)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit("rclone does not listen")

    def environment(self) -> dict[str, str]:
        return {
            "ACCESS_KEY_ID": AK,
            "SECRET_ACCESS_KEY": SK,
            "S3_ENDPOINT": f"127.0.0.1:{self.port}",
            "S3_USE_HTTPS": "0",
        }

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


# ---- Measuring -----------------------------------------------------------------------------------


def cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure(case: str, name: str, job: Job) -> dict[str, float]:
    """In the contender's process: reads one epoch."""
    function = CASES[case][name]
    warm = getattr(function, "imports", ())
    for module in ("numpy", "cv2", "mox_core.data", *warm):
        __import__(module)
    began, used = time.perf_counter(), cpu_seconds()
    count = function(job)
    wall, cpu = time.perf_counter() - began, cpu_seconds() - used
    if DECODE_SECONDS:
        wall = DECODE_SECONDS[0]
    whole = {"images": count, "images_per_sec": count / wall, "cpu_ms": 1e3 * cpu / count}
    return whole | (STEADY[0] if STEADY else {})


def run_one(case: str, name: str, job: Job, environment: dict[str, str]) -> dict[str, float] | None:
    command = [sys.executable, __file__, "--measure", json.dumps([case, name, asdict(job)])]
    done = subprocess.run(
        command,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        print(f"{case}, {name} failed:\n{done.stderr[-2000:]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", default="/tmp/mox/bench_data", type=Path)
    parser.add_argument("--count", type=int, default=IMAGES, help="images")
    parser.add_argument("--cases", help="some of: " + ", ".join(CASES))
    parser.add_argument("--only", help="contenders whose names begin with one of these")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--remote", action="store_true", help="from rclone serve s3 as well")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        case, name, fields = json.loads(args.measure)
        print(json.dumps(measure(case, name, Job(**fields))))
        return
    args.work.mkdir(parents=True, exist_ok=True)
    images, records = make_data(args.work, args.count)
    wanted = args.cases.split(",") if args.cases else list(CASES)
    only = tuple(args.only.split(",")) if args.only else ("",)
    local = Job(str(images), str(records), None)
    plan = [
        (case, name, "local", local)
        for case in wanted
        for name in CASES[case]
        if name.startswith(only)
    ]
    server = None
    environment: dict[str, str] = {}
    if args.remote:
        root = args.work / "remote"
        (root / BUCKET).mkdir(parents=True, exist_ok=True)
        for folder in (images, records):
            if not (root / BUCKET / folder.name).exists():
                shutil.copytree(folder, root / BUCKET / folder.name)
        server = RcloneServer(root)
        environment = server.environment()
        cache = args.work / "cache"
        urls = [f"s3://{BUCKET}/{folder.name}" for folder in (images, records)]
        for case in wanted:
            for name in CASES[case]:
                if name.startswith(only) and name.startswith("mox"):
                    plan.append((case, name, "remote", Job(*urls, None)))
                    plan.append((case, name, "remote, first epoch", Job(*urls, str(cache))))
                    plan.append((case, name, "remote, cached", Job(*urls, str(cache))))
    results: dict[tuple[str, str, str], list[dict[str, float]]] = {}
    try:
        for number in range(args.rounds):
            shift = 0 if args.remote else number % len(plan)
            for case, name, where, job in plan[shift:] + plan[:shift]:
                if where == "remote, first epoch":
                    shutil.rmtree(args.work / "cache", ignore_errors=True)
                one = run_one(case, name, job, environment)
                if one:
                    results.setdefault((case, where, name), []).append(one)
                    print(f"{case:13} {where:20} {name:18} {one['images_per_sec']:8.0f}/s", end="")
                    print(f" {one['cpu_ms']:7.2f} ms CPU", flush=True)
    finally:
        if server:
            server.close()
    report(results, args)


def report(results, args) -> None:
    """Prints the table; ratios are medians over the rounds."""
    heads = ("case", "from", "reader", "images/s, median (lowest to highest)", "CPU ms/image")
    print(f"\n| {' | '.join(heads)} | mox over it |")
    print("|---|---|---|---|---|---|")
    rows = []
    for (case, where, name), ones in results.items():
        rates = [one["images_per_sec"] for one in ones]
        cpu = statistics.median(one["cpu_ms"] for one in ones)
        ratio = None
        mine = results.get((case, where, "mox"))
        if mine and name != "mox":
            pairs = zip(mine, ones, strict=False)
            ratio = statistics.median(a["images_per_sec"] / b["images_per_sec"] for a, b in pairs)
        shown = f"{statistics.median(rates):.0f} ({min(rates):.0f} to {max(rates):.0f})"
        print(
            f"| {case} | {where} | {name} | {shown} | {cpu:.2f} | {ratio:.2f} |"
            if ratio
            else f"| {case} | {where} | {name} | {shown} | {cpu:.2f} | |"
        )
        rows.append({"case": case, "from": where, "reader": name, "rounds": ones, "ratio": ratio})
    if args.json:
        about = {
            "count": args.count,
            "rounds": args.rounds,
            "machine": platform.machine(),
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "load": os.getloadavg(),
        }
        args.json.write_text(json.dumps({"about": about, "results": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
