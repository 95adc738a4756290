"""What a data set holds: its files, classes and number of samples (manual 001, section 1.3.2).

Folders are local paths or URLs of any store that `mox.file` reads.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mox_core.data.labels import check_labels, log_labels, read_labels
from mox_core.data.listing import Listed, examples, folder_path, is_hidden, is_image, list_files
from mox_core.data.source import FileSource
from mox_core.errors import DataError
from mox_core.storage import api as file

if TYPE_CHECKING:
    from mox_core.data.cache import LocalCache
    from mox_core.data.record_index import FileIndex
    from mox_core.data.tfrecord_source import TFRecordSource

__all__ = [
    "BaseTFRecordMetadata",
    "ImageClassificationRawMetadata",
    "ImageClassificationTFRecordMetadata",
    "MultilabelClassificationRawMetadata",
]

LOG = logging.getLogger("mox")

_THREADS = 16
"""Label files that are read at a time."""


class _Metadata:
    """Names of classes, both ways.

    Attributes:
        base_dir: the folder.
        redirect_dir: where the samples are read instead, or None.
        labels_to_names: label -> name, in the order of the labels.
    """

    def __init__(self, base_dir: str | os.PathLike[str], redirect_dir: str | None) -> None:
        self.base_dir = folder_path(base_dir, "base_dir")
        self.redirect_dir = folder_path(redirect_dir, "redirect_dir") if redirect_dir else None
        self.labels_to_names: Mapping[int, str] = {}

    @property
    def data_dir(self) -> str:
        """The folder from which samples are read: `redirect_dir`, else `base_dir`."""
        return self.redirect_dir or self.base_dir

    @property
    def labels_list(self) -> list[str]:
        """The names of the classes; their places are the labels."""
        return list(self.labels_to_names.values())

    @property
    def names_to_labels(self) -> dict[str, int]:
        """Name -> label."""
        return {name: label for label, name in self.labels_to_names.items()}

    def _read_labels(self, filename: str, *, expected: bool) -> tuple[str, dict[int, str] | None]:
        url = _join(self.base_dir, filename)
        labels = read_labels(url)
        if labels is None and expected:
            raise DataError(f"there is no file of labels {url}.")
        return url, labels


class ImageClassificationRawMetadata(_Metadata):
    """A folder with a folder of images per class (manual 001, section 1.3.2.2).

    Labels are the places of the folders' names in alphabetical order, or what `labels.txt` says,
    one `number: name` or one name per line. They are logged as `number: name`.

    Args:
        base_dir: the folder.
        redirect_dir: a copy of it from which the images are read, for example on a faster disk;
            classes and files are still those of base_dir.
        labels_filename: the file of labels in base_dir. Without such a file the folders decide.

    Attributes:
        num_classes: how many classes there are.
        total_num_samples: how many images there are.
        labels_list: the names of the classes; their places are the labels.
        labels_to_names: label -> name.
        names_to_labels: name -> label.
        files: the images, as paths under base_dir, by class and name.
        labels: int64 [total_num_samples].

    Raises:
        DataError: there is no image, or labels.txt names other classes than the folders.
        MoxFileNotExistsException: there is no such folder.
    """

    def __init__(
        self,
        base_dir: str | os.PathLike[str],
        redirect_dir: str | None = None,
        labels_filename: str = "labels.txt",
    ) -> None:
        import numpy as np

        super().__init__(base_dir, redirect_dir)
        by_class, others = _images_by_folder(self.base_dir)
        if not any(by_class.values()):
            raise DataError(
                f"{self.base_dir} has no images in folders, one per class"
                f"{_instead(by_class, others)}.\n"
                "  Give a folder such as base_dir with base_dir/cat/1.jpg in it."
            )
        url, labels = self._read_labels(labels_filename, expected=labels_filename != "labels.txt")
        if labels is None:
            labels = dict(enumerate(sorted(by_class)))
        else:
            check_labels(labels, by_class, url, "a class folder")
        self.labels_to_names = labels
        log_labels(labels, self.base_dir)
        _warn_of_empty(self.base_dir, [name for name in labels.values() if not by_class[name]])
        listed = [one for name in labels.values() for one in sorted(by_class[name])]
        self.files = [one.name for one in listed]
        self.versions = [one.version for one in listed]
        counts = [len(by_class[name]) for name in labels.values()]
        self.labels = np.repeat(np.arange(len(labels), dtype=np.int64), counts)

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.labels_to_names)

    @property
    def total_num_samples(self) -> int:
        """How many images there are."""
        return len(self.files)

    num_samples = total_num_samples

    def source(self, cache: LocalCache | None = None) -> FileSource:
        """The images, for a reader.

        Args:
            cache: keeps local copies.
        """
        return FileSource(
            self.data_dir,
            self.files,
            self.labels,
            self.labels_to_names,
            versions=self.versions,
            cache=cache,
        )


class MultilabelClassificationRawMetadata(_Metadata):
    """A folder of images, each with a file of its labels' names (manual 001, section 1.3.2.6).

    The labels of `images/0.jpg` are in `labels/0.jpg.txt`; those of all images come from
    `labels.txt`, else from all files of labels in alphabetical order.

    Args:
        base_dir: the folder.
        images_sub_dir: the images' folder in it.
        labels_sub_dir: the folder of the files of labels.
        labels_extension: extension of these files.
        redirect_dir: a copy of base_dir from which the images are read.
        labels_filename: the file with the names of all labels, in base_dir.
        label_sep: what stands between two names in a file of labels. Data sets have this argument,
            too; it is needed here where there is no labels.txt.

    Attributes:
        num_classes: how many labels there are.
        total_num_samples: how many images there are, those without a file of labels included.
        files: the images, as paths under the images' folder, in alphabetical order.
        label_files: the file of labels of each, under base_dir; None where there is none.

    Raises:
        DataError: there are no images or no labels.
        MoxFileNotExistsException: there is no such folder.
    """

    def __init__(
        self,
        base_dir: str | os.PathLike[str],
        images_sub_dir: str = "images",
        labels_sub_dir: str = "labels",
        labels_extension: str = "txt",
        redirect_dir: str | None = None,
        labels_filename: str = "labels.txt",
        *,
        label_sep: str = "\n",
    ) -> None:
        super().__init__(base_dir, redirect_dir)
        self.images_sub_dir = images_sub_dir.strip("/")
        self.labels_sub_dir = labels_sub_dir.strip("/")
        folder = _join(self.base_dir, self.images_sub_dir)
        listed = sorted(one for one in list_files(folder) if is_image(one.name))
        if not listed:
            raise DataError(f"{folder} has no images.")
        self.files = [one.name for one in listed]
        self.versions = [one.version for one in listed]
        self._texts: dict[str, str] = {}
        there = {one.name for one in list_files(_join(self.base_dir, self.labels_sub_dir))}
        extension = "." + labels_extension.lstrip(".")
        self.label_files = [
            f"{self.labels_sub_dir}/{name}{extension}" if name + extension in there else None
            for name in self.files
        ]
        if not any(self.label_files):
            wanted = f"{self.labels_sub_dir}/{self.files[0]}{extension}"
            raise DataError(f"{self.base_dir} has no labels: {wanted} and the like are missing.")
        _, labels = self._read_labels(labels_filename, expected=labels_filename != "labels.txt")
        if labels is None:
            names = {name for some in self.label_names(label_sep) for name in some or ()}
            labels = dict(enumerate(sorted(names)))
        elif sorted(labels) != list(range(len(labels))):
            raise DataError(f"{self.base_dir}/{labels_filename}: number the labels from 0.")
        self.labels_to_names = labels
        log_labels(labels, self.base_dir)

    @property
    def num_classes(self) -> int:
        """How many labels there are."""
        return len(self.labels_to_names)

    @property
    def total_num_samples(self) -> int:
        """How many images there are."""
        return len(self.files)

    num_samples = total_num_samples

    def label_names(self, label_sep: str = "\n") -> list[list[str] | None]:
        """The names in the file of labels of each image; None where there is no such file.

        Args:
            label_sep: what stands between two names.
        """
        wanted = [name for name in self.label_files if name and name not in self._texts]
        if wanted:
            with ThreadPoolExecutor(_THREADS, "mox-labels") as pool:
                texts = pool.map(lambda name: file.read(_join(self.base_dir, name)), wanted)
                self._texts.update(zip(wanted, texts, strict=True))

        def split(text: str) -> list[str]:
            parts = text.split() if label_sep.isspace() and label_sep != "\n" else None
            parts = text.split(label_sep) if parts is None else parts
            return [name for part in parts if (name := part.strip())]

        return [split(self._texts[name]) if name else None for name in self.label_files]

    def source(
        self,
        cache: LocalCache | None = None,
        *,
        label_sep: str = "\n",
        skip_label_not_found: bool = False,
    ) -> FileSource:
        """The images with their labels as int64 [num_classes] of zeros and ones, for a reader.

        Args:
            cache: keeps local copies.
            label_sep: what stands between two names in a file of labels.
            skip_label_not_found: leave out images that have no file of labels.

        Raises:
            DataError: an image has no file of labels, or a name is not in labels.txt.
        """
        import numpy as np

        numbers = self.names_to_labels
        all_names = self.label_names(label_sep)
        chosen = [at for at, names in enumerate(all_names) if names is not None]
        if len(chosen) < len(all_names) and not skip_label_not_found:
            lacking = [self.files[at] for at, names in enumerate(all_names) if names is None]
            raise DataError(
                f"{self.base_dir}: {len(lacking)} images have no file of labels: "
                f"{examples(lacking)}.\n  Add them, or pass skip_label_not_found=True."
            )
        labels = np.zeros([len(chosen), self.num_classes], np.int64)
        for row, at in enumerate(chosen):
            for name in all_names[at] or ():
                if name not in numbers:
                    raise DataError(
                        f"{self.base_dir}/{self.label_files[at]} has the label {name!r}, which "
                        f"labels.txt does not.\n  Add it there, or check label_sep={label_sep!r}."
                    )
                labels[row, numbers[name]] = 1
        return FileSource(
            _join(self.data_dir, self.images_sub_dir),
            [self.files[at] for at in chosen],
            labels,
            self.labels_to_names,
            versions=[self.versions[at] for at in chosen],
            cache=cache,
        )


class BaseTFRecordMetadata(_Metadata):
    """TFRecord files that match a pattern.

    Args:
        base_dir: the folder.
        file_pattern: which of its files, such as `*train*.tfrecord`; or a list of patterns.
        num_samples: how many records there are in all; None: they are counted when it is needed.
        redirect_dir: a copy of base_dir from which the files are read.

    Attributes:
        files: the files, as paths under base_dir, in alphabetical order.
        sizes: their sizes in bytes.

    Raises:
        DataError: no file matches.
    """

    def __init__(
        self,
        base_dir: str | os.PathLike[str],
        file_pattern: str | list[str],
        num_samples: int | None = None,
        redirect_dir: str | None = None,
    ) -> None:
        super().__init__(base_dir, redirect_dir)
        patterns = [file_pattern] if isinstance(file_pattern, str) else list(file_pattern)
        listed = {one.name: one for one in _matching(self.base_dir, patterns)}
        if not listed:
            raise DataError(
                f"no file in {self.base_dir} matches {' or '.join(map(repr, patterns))}"
                f"{_there_are(self.base_dir)}."
            )
        self.files = sorted(listed)
        self.sizes = [listed[name].size for name in self.files]
        self.versions = [listed[name].version for name in self.files]
        self._num_samples = num_samples

    @property
    def num_samples(self) -> int:
        """How many records there are. Counting them may take a while, once: see `index`.

        Raises:
            DataError: a file is cut off or damaged: which, and at which record.
        """
        if self._num_samples is None:
            self._check_index()
            self._num_samples = sum(one.count for one in self.index)
        return self._num_samples

    @property
    def total_num_samples(self) -> int:
        """The same as num_samples."""
        return self.num_samples

    @property
    def urls(self) -> list[str]:
        """The files, as paths or URLs to read from."""
        return [_join(self.data_dir, name) for name in self.files]

    @cached_property
    def index(self) -> list[FileIndex]:
        """Where the records of each file begin.

        Found by reading the lengths of all records, several files at a time, with a progress bar
        when it takes long; kept in a file beside the data, or in the cache where that cannot be
        written. Read from there while the files are the same.
        """
        from mox_core.data.record_index import find_records

        return find_records(self.data_dir, self.files, self.sizes, self.versions)

    def source(
        self, cache: LocalCache | None = None, *, skip_damaged: bool = False, **options: Any
    ) -> TFRecordSource:
        """The records, for a reader.

        Args:
            cache: keeps local copies.
            skip_damaged: of a file that is cut off or damaged, read what comes before.
            options: further arguments of TFRecordSource, such as `parse`.

        Raises:
            DataError: a file is cut off or damaged: which, and at which record.
        """
        from mox_core.data.tfrecord_source import TFRecordSource

        if not skip_damaged:
            self._check_index()
        for one in self.index:
            if one.damage:
                LOG.warning("%s The %d records before are read.", one.damage, one.count)

        return TFRecordSource(
            self.urls,
            self.index,
            versions=self.versions,
            labels_to_names=self.labels_to_names,
            num_classes=self.num_classes,
            cache=cache,
            **options,
        )

    def _check_index(self) -> None:
        damage = next((one.damage for one in self.index if one.damage), None)
        if damage is not None:
            raise DataError(damage)

    @property
    def num_classes(self) -> int:
        """How many classes there are; 0 when it is not known."""
        return len(self.labels_to_names)


class ImageClassificationTFRecordMetadata(BaseTFRecordMetadata):
    """Images and labels in TFRecord files (manual 001, section 1.3.2.4).

    Args:
        base_dir: the folder.
        file_pattern: which of its files, such as `*train*.tfrecord`; or a list of patterns.
        num_samples: how many records there are in all; None: they are counted when it is needed.
        redirect_dir: a copy of base_dir from which the files are read.
        num_classes: how many classes there are; 0: as many as the file of labels has.
        label_map_file: the file of labels in base_dir; it may be missing.
        file_patterns: another name of file_pattern, which the manual's example uses.

    Raises:
        DataError: no file matches, or num_classes is not what the file of labels has.
    """

    def __init__(
        self,
        base_dir: str | os.PathLike[str],
        file_pattern: str | list[str] | None = None,
        num_samples: int | None = None,
        redirect_dir: str | None = None,
        num_classes: int = 0,
        label_map_file: str | None = "labels.txt",
        *,
        file_patterns: str | list[str] | None = None,
    ) -> None:
        pattern = file_pattern or file_patterns
        if not pattern:
            raise DataError("file_pattern says which files to read, such as '*train*.tfrecord'.")
        super().__init__(base_dir, pattern, num_samples, redirect_dir)
        self._num_classes = num_classes
        if label_map_file:
            expected = label_map_file != "labels.txt"
            url, labels = self._read_labels(label_map_file, expected=expected)
            if labels:
                self.labels_to_names = labels
                if num_classes and num_classes <= max(labels):
                    raise DataError(
                        f"num_classes is {num_classes}, but {url} has a label {max(labels)}."
                    )
                log_labels(labels, self.base_dir)

    @property
    def num_classes(self) -> int:
        """How many classes there are; 0 when it is not known."""
        return self._num_classes or max(self.labels_to_names, default=-1) + 1


def _join(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}" if name else folder


def _images_by_folder(base_dir: str) -> tuple[dict[str, list[Listed]], int]:
    """The images below each folder of the first level, and how many other files there are."""
    by_class: dict[str, list[Listed]] = {}
    others = 0
    for one in list_files(base_dir):
        name, slash, rest = one.name.partition("/")
        if not slash or is_hidden(one.name):
            others += not slash
            continue
        images = by_class.setdefault(name, [])
        if is_image(rest):
            images.append(one)
    return by_class, others


def _instead(by_class: Mapping[str, object], others: int) -> str:
    if by_class:
        return f", only folders without any: {examples(sorted(by_class))}"
    return f", only {others} files" if others else ""


def _warn_of_empty(base_dir: str, names: list[str]) -> None:
    if names:
        LOG.warning(
            "%s: no images in the class folder%s %s; the labels stand for no sample.",
            base_dir,
            "s" if len(names) > 1 else "",
            examples(names),
        )


def _matching(base_dir: str, patterns: list[str]) -> Iterator[Listed]:
    """The files that match; `*` does not match `/`, nor a dot at the beginning of a name."""
    wanted = [pattern.strip("/").split("/") for pattern in patterns]
    for one in list_files(base_dir, recursive=any(len(parts) > 1 for parts in wanted)):
        names = one.name.split("/")
        if is_hidden(one.name) or not names[-1]:
            continue
        for parts in wanted:
            if len(parts) == len(names) and all(map(fnmatchcase, names, parts)):
                yield one
                break


def _there_are(base_dir: str) -> str:
    if not file.is_directory(base_dir):
        return ", which is no folder"
    names = file.list_directory(base_dir)
    return f"; it has {examples(names)}" if names else ", which is empty"
