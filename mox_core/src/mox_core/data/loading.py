"""From a sample's number to what goes into a batch: read, decode, resize, augment."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mox_core.data.images import decode_image, image_size_of, resize_nearest
from mox_core.data.source import Sample, SampleError, Source
from mox_core.errors import DataError

if TYPE_CHECKING:
    from mox_core.data.order import Order

__all__ = ["BadSamples", "SampleLoader", "stack", "tickets"]

LOG = logging.getLogger("mox")

_NAMED = 5
"""Bad samples that are named one by one."""


def tickets(order: Order, total: int) -> Iterator[int]:
    """The order as numbers that tell the epoch, too: epoch * total + index.

    With it, a loader makes the random numbers of an image, whoever loads it.

    Args:
        order: of a source.
        total: samples of the source.
    """
    if len(order):
        for epoch, indices in enumerate(order.epochs(), order.first_epoch):
            yield from (indices + epoch * total).tolist()


class BadSamples:
    """What to do with samples that cannot be read or decoded.

    Args:
        policy: `stop`: raise the error; `skip`: name the first few, leave all out, count them.

    Attributes:
        count: how many were skipped.

    Raises:
        DataError: there is no such policy.
    """

    def __init__(self, policy: str) -> None:
        if policy not in ("stop", "skip"):
            raise DataError(f"on_error is {policy!r}: use 'stop' or 'skip'.")
        self.policy = policy
        self.count = 0
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"policy": self.policy, "count": 0}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def met(self, error: SampleError) -> None:
        """Raises the error, or notes it.

        Raises:
            SampleError: the policy is to stop.
        """
        if self.policy == "stop":
            hint = "" if "\n" in error.why else "\n  Remove or mend it, or pass on_error='skip'."
            raise SampleError(error.name, error.why.rstrip(".") + "." + hint)
        with self._lock:
            self.count += 1
            count = self.count
        if count <= _NAMED:
            LOG.warning("skipped: %s", str(error).partition("\n")[0])

    def report(self, seen: int) -> None:
        """Logs how many were skipped, at the end.

        Args:
            seen: how many samples were asked for.
        """
        if self.count:
            LOG.warning("%d of %d samples were skipped.", self.count, seen)


class SampleLoader:
    """Loads samples: a function from tickets to samples. Can be pickled.

    Args:
        source: what is read.
        keys: features that are wanted: those of the source, and `image_buf`, the content of the
            image's file.
        image_size: height and width that images get, by the nearest pixel; None: as they are.
        augmentation_fn: image -> image. When it has an argument `rng`, it gets a
            `numpy.random.Generator` made of the seed, the epoch and the image's number.
        label_one_hot: labels as float32 [num_classes], of which one is 1.
        seed: of the random numbers.

    Raises:
        DataError: there is no such feature.
    """

    def __init__(
        self,
        source: Source,
        keys: Sequence[str],
        *,
        image_size: Any = None,
        augmentation_fn: Callable[..., Any] | None = None,
        label_one_hot: bool = False,
        seed: int = 0,
    ) -> None:
        known = {*source.features, "image_buf"}
        unknown = [key for key in keys if key not in known]
        if unknown:
            raise DataError(
                f"there is no feature {unknown[0]!r}: the data set has {', '.join(sorted(known))}."
            )
        if label_one_hot and not source.num_classes:
            raise DataError("label_one_hot needs the number of classes: give num_classes.")
        self.source = source
        self.keys = tuple(keys)
        self.image_size = image_size_of(image_size)
        self.augmentation_fn = augmentation_fn
        self.label_one_hot = label_one_hot
        self.seed = seed
        self._gives_rng = augmentation_fn is not None and _takes_rng(augmentation_fn)
        self._total = len(source)

    def __call__(self, ticket: int) -> Sample:
        """Reads and prepares one sample.

        Raises:
            SampleError: it is damaged or gone.
        """
        epoch, index = divmod(ticket, self._total) if self._total else (0, ticket)
        return self.prepare(self.source.read(index), epoch, index)

    def prepare(self, sample: Sample, epoch: int, index: int) -> Sample:
        """Prepares a sample that is read already.

        Raises:
            SampleError: its image is damaged.
        """
        content = sample["image"]
        out: Sample = {}
        for key in self.keys:
            if key == "image":
                out[key] = self.image(content, epoch, index)
            elif key == "image_buf":
                out[key] = content
            elif key == "label":
                out[key] = self._label(sample["label"], index)
            else:
                out[key] = sample[key]
        return out

    def image(self, content: Any, epoch: int, index: int) -> Any:
        """Decodes, resizes and augments an image."""
        if isinstance(content, bytes):
            try:
                content = decode_image(content, self.source.channels)
            except DataError as error:
                raise SampleError(self.source.name(index), str(error)) from None
        if self.image_size is not None:
            content = resize_nearest(content, self.image_size)
        return self.augment(content, epoch, index)

    def augment(self, image: Any, epoch: int, index: int) -> Any:
        """Augments an image."""
        if self.augmentation_fn is None:
            return image
        if not self._gives_rng:
            return self.augmentation_fn(image)
        import numpy as np

        rng = np.random.default_rng([self.seed & 0xFFFFFFFF, epoch, index])
        return self.augmentation_fn(image, rng=rng)

    def _label(self, label: Any, index: int) -> Any:
        if not self.label_one_hot:
            return label
        import numpy as np

        if not 0 <= label < self.source.num_classes:
            raise SampleError(
                self.source.name(index),
                f"has the label {label}, but there are {self.source.num_classes} classes.",
            )
        one_hot = np.zeros(self.source.num_classes, np.float32)
        one_hot[label] = 1
        return one_hot


def _takes_rng(function: Callable[..., Any]) -> bool:
    try:
        return "rng" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def stack(samples: Sequence[Sample], keys: Sequence[str]) -> list[Any]:
    """Makes a batch: one array per key; files' contents and texts as arrays of objects.

    Raises:
        DataError: images differ in size.
    """
    import numpy as np

    columns: list[Any] = []
    for key in keys:
        values = [sample[key] for sample in samples]
        first = values[0]
        if isinstance(first, (bytes, str, list)):
            column = np.empty(len(values), object)
            column[:] = values
        elif isinstance(first, int):
            column = np.array(values, np.int64)
        else:
            try:
                column = np.stack(values)
            except ValueError:
                shapes = sorted({np.shape(value) for value in values})
                raise DataError(
                    f"a batch cannot hold {key}s of the sizes {shapes[0]} and {shapes[-1]}.\n"
                    "  Pass image_size, an augmentation_fn that gives one size, or a preprocess_fn."
                ) from None
        columns.append(column)
    return columns
