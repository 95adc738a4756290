"""cifar10, cifar100: from the original archives or folders, or TF-slim's TFRecord files.

Source: A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009; the formats are
described on the data sets' page.
"""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mox_core.data.provider import DatasetMeta, DatasetProvider, TFRecordProvider
from mox_core.data.source import ArraySource, Source
from mox_core.errors import DataError
from mox_core.storage import api as file

if TYPE_CHECKING:
    from mox_core.data.cache import LocalCache

__all__ = ["Cifar"]

_TEN = "airplane automobile bird cat deer dog frog horse ship truck"
_HUNDRED = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup
dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower
leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid
otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray
road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
wardrobe whale willow_tree wolf woman worm
"""
_PIXELS = 3 * 32 * 32

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


class Cifar(DatasetProvider):
    """CIFAR-10 or CIFAR-100, which has fine labels here.

    Args:
        classes: 10 or 100.
    """

    def __init__(self, classes: int) -> None:
        self.meta = DatasetMeta(
            f"cifar{classes}",
            classes,
            {"train": 50000, "test": 10000},
            dict(enumerate((_TEN if classes == 10 else _HUNDRED).split())),
            {"image": "uint8 RGB image of 32 x 32", "label": "number of the class"},
        )
        self._stem = f"cifar-{classes}"
        batches = "-batches" if classes == 10 else ""
        self._python = f"{self._stem}{batches}-py" if classes == 10 else f"{self._stem}-python"
        self._binary = f"{self._stem}{batches}-bin" if classes == 10 else f"{self._stem}-binary"
        self._label_bytes = 1 if classes == 10 else 2  # 100: coarse, fine

    def source(
        self, split_name: str, dataset_dir: str, *, cache: LocalCache | None = None
    ) -> Source:
        """The images of a split; those of the original files are held in memory."""
        parts = list(self._parts(split_name, dataset_dir))
        if not parts:
            records = TFRecordProvider(self.meta, f"{self.meta.name}_%s.tfrecord")
            try:
                return records.source(split_name, dataset_dir, cache=cache)
            except DataError as error:
                if "no file" not in str(error):
                    raise
                raise DataError(
                    f"{dataset_dir} has none of {self._python}, {self._binary}, "
                    f"{self._stem}-python.tar.gz, {self._stem}-binary.tar.gz, "
                    f"{self.meta.name}_{split_name}.tfrecord.\n  Download one of them."
                ) from None
        images = np.concatenate([images for images, _ in parts])
        labels = np.concatenate([labels for _, labels in parts])
        if labels.size and labels.max() >= self.meta.num_classes:
            raise DataError(f"{dataset_dir} has a label {labels.max()}: these are other data.")
        return ArraySource(images, labels, self.meta.labels_to_names, where=dataset_dir)

    def _names(self, split_name: str, *, binary: bool) -> list[str]:
        if self.meta.num_classes == 100:
            return [split_name + (".bin" if binary else "")]
        train = [f"data_batch_{number}" for number in range(1, 6)]
        names = train if split_name == "train" else ["test_batch"]
        return [name + ".bin" for name in names] if binary else names

    def _parts(self, split_name: str, dataset_dir: str) -> Iterator[tuple[Images, Labels]]:
        for binary, folder in ((False, self._python), (True, self._binary)):
            names = self._names(split_name, binary=binary)
            read = self._read_binary if binary else self._read_python
            for place in (f"{dataset_dir}/{folder}", dataset_dir):
                if file.exists(f"{place}/{names[0]}") and not file.is_directory(
                    f"{place}/{names[0]}"
                ):
                    for name in names:
                        yield read(_content(f"{place}/{name}"), f"{place}/{name}")
                    return
        for binary, kind in ((False, "python"), (True, "binary")):
            url = f"{dataset_dir}/{self._stem}-{kind}.tar.gz"
            if file.exists(url):
                names = self._names(split_name, binary=binary)
                read = self._read_binary if binary else self._read_python
                found = _of_archive(url, names)
                for name in names:
                    yield read(found[name], f"{url}: {name}")
                return

    def _read_binary(self, content: bytes, where: str) -> tuple[Images, Labels]:
        row = self._label_bytes + _PIXELS
        if not content or len(content) % row:
            raise DataError(f"{where} has {len(content)} bytes, no multiple of {row}.")
        rows = np.frombuffer(content, np.uint8).reshape(-1, row)
        labels = rows[:, self._label_bytes - 1].astype(np.int64)
        return _to_images(rows[:, self._label_bytes :]), labels

    def _read_python(self, content: bytes, where: str) -> tuple[Images, Labels]:
        key = b"labels" if self.meta.num_classes == 10 else b"fine_labels"
        try:
            batch = _Unpickler(io.BytesIO(content), encoding="bytes").load()
            data, labels = batch[b"data"], batch[key]
            return _to_images(np.asarray(data, np.uint8)), np.asarray(labels, np.int64)
        except Exception as error:
            raise DataError(
                f"{where} is no batch of CIFAR ({type(error).__name__}: {error}).\n"
                "  Download it again."
            ) from None


class _Unpickler(pickle.Unpickler):
    """Makes arrays and nothing else: a pickle could run any program."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return super().find_class(module, name)
        if module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray") and name in (
            "_reconstruct",
            "ndarray",
            "dtype",
        ):
            if name != "_reconstruct":
                return getattr(np, name)
            return np.zeros(0).__reduce__()[0]
        raise pickle.UnpicklingError(f"it wants to call {module}.{name}")


def _to_images(rows: Images) -> Images:
    return np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def _content(url: str) -> bytes:
    try:
        content: bytes = file.read(url, binary=True)
        return content
    except FileNotFoundError:
        raise DataError(f"there is no {url}, which belongs to the others. Download it.") from None


def _of_archive(url: str, names: list[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    try:
        with file.File(url, "rb") as opened, tarfile.open(fileobj=opened, mode="r|gz") as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                if name in names and (entry := archive.extractfile(member)) is not None:
                    found[name] = entry.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{url} cannot be unpacked: {error}. Download it again.") from None
    lacking = [name for name in names if name not in found]
    if lacking:
        raise DataError(f"{url} has no {lacking[0]}. Download it again.")
    return found
