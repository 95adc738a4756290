"""The suite for data sets: those of mox pass it, and it notices those that break the contract."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from sample_files import encode, noise

from mox_core.data.example import format_example
from mox_core.data.sets.cifar import Cifar
from mox_core.data.sets.mnist import Mnist
from mox_core.data.sets.slim import FLOWERS
from mox_core.data.tfrecord import TFRecordWriter
from mox_core.testing import DatasetSuite

DIGITS = Path(__file__).parents[2] / "examples" / "data" / "digits"


class TestMnist(DatasetSuite):
    @pytest.fixture
    def provider(self):
        return Mnist()

    @pytest.fixture
    def dataset_dir(self):
        return DIGITS


class TestCifar(DatasetSuite):
    @pytest.fixture
    def provider(self):
        return Cifar(10)

    @pytest.fixture
    def dataset_dir(self, tmp_path):
        rows = np.random.default_rng(0).integers(0, 10, (7, 3073), np.uint8)
        for name in [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]:
            (tmp_path / f"{name}.bin").write_bytes(rows.tobytes())
        return tmp_path


class TestFlowers(DatasetSuite):
    @pytest.fixture
    def provider(self):
        return FLOWERS

    @pytest.fixture
    def dataset_dir(self, tmp_path):
        with TFRecordWriter(tmp_path / "flowers_train_0.tfrecord") as writer:
            for label in range(5):
                features = {"image/encoded": encode(noise(label)), "image/class/label": label}
                writer.write(format_example(features))
        return tmp_path


FAULTY = """
import dataclasses
import random
import threading

import numpy as np
import pytest

from mox_core.data import ArraySource, DatasetMeta, DatasetProvider
from mox_core.errors import DataError
from mox_core.testing import DatasetSuite


class Good(ArraySource):
    def __init__(self):
        images = np.zeros((5, 9, 9, 3), np.uint8)
        super().__init__(images, np.arange(5) % 2, {0: "a", 1: "b"}, where="here")


class TooFewClasses(Good):
    def __init__(self):
        super().__init__()
        self.num_classes = 1


class FloatImages(Good):
    def read(self, index):
        sample = super().read(index)
        return sample | {"image": sample["image"].astype(np.float32)}


class NumpyLabels(Good):
    def read(self, index):
        return super().read(index) | {"label": np.int64(0)}


class OneName(Good):
    def name(self, index):
        return "sample"


class OneFeatureMore(Good):
    def read(self, index):
        return super().read(index) | {"colour": "red"}


class Changing(Good):
    def read(self, index):
        return super().read(index) | {"label": random.getrandbits(1)}


class Unpicklable(Good):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


class WrongBlocks(Good):
    @property
    def blocks(self):
        return np.array([2, 2])


class Provider(DatasetProvider):
    meta = DatasetMeta("faulty", 2, {"train": 5})

    def __init__(self, source):
        self.make = source

    def source(self, split_name, dataset_dir, *, cache=None):
        if "nothing here" in dataset_dir:
            raise DataError(f"{dataset_dir} has no files.")
        return self.make()


class Careless(Provider):
    def source(self, split_name, dataset_dir, *, cache=None):
        return self.make()


class Suite(DatasetSuite):
    @pytest.fixture
    def provider(self):
        return getattr(self, "provider_class", Provider)(self.source_class)

    @pytest.fixture
    def dataset_dir(self, tmp_path):
        return tmp_path


class TestGood(Suite):
    source_class = Good


class TestCareless(Suite):
    source_class = Good
    provider_class = Careless


for made in (TooFewClasses, FloatImages, NumpyLabels, OneName, OneFeatureMore, Changing,
             Unpicklable, WrongBlocks):
    globals()["Test" + made.__name__] = type("Test" + made.__name__, (Suite,),
                                             {"source_class": made})
"""


def test_the_suite_notices_sources_that_break_the_contract(tmp_path):
    (tmp_path / "test_faulty.py").write_text(textwrap.dedent(FAULTY))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_faulty.py"]
    command += ["-k", "not another_process"]  # takes a process each
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    failed = {line.split("::")[1] for line in done.stdout.splitlines() if line.startswith("FAILED")}
    assert failed == {
        "TestCareless",
        "TestTooFewClasses",
        "TestFloatImages",
        "TestNumpyLabels",
        "TestOneName",
        "TestOneFeatureMore",
        "TestChanging",
        "TestUnpicklable",
        "TestWrongBlocks",
    }, done.stdout
