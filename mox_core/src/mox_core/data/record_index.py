"""Where the records of TFRecord files begin: found without decoding, kept for the next time."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mox_core.data.tfrecord import FOOTER, HEADER, checked_length
from mox_core.errors import DataError, MoxError
from mox_core.storage import api as file
from mox_core.storage import transfer
from mox_core.storage.driver import ObjectInfo
from mox_core.storage.urls import Location, locate

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Lengths = npt.NDArray[np.int64]

__all__ = ["FileIndex", "find_records"]

_THREADS = 8
"""Files whose records are looked for at a time."""

LOG = logging.getLogger("mox")


@dataclass(frozen=True)
class FileIndex:
    """The records of one file.

    Args:
        url: the file.
        lengths: int64 [records]: the bytes of data of each.
        damage: what ends the file early, as the message of an error; None: it is whole.
    """

    url: str
    lengths: Lengths
    damage: str | None = None

    @property
    def count(self) -> int:
        """How many whole records there are."""
        return len(self.lengths)

    @property
    def offsets(self) -> Lengths:
        """int64 [records]: the place in the file where each begins, with its header."""
        import numpy as np

        ends = np.cumsum(self.lengths + HEADER + FOOTER)
        return ends - self.lengths - HEADER - FOOTER


def find_records(
    folder: str, names: Sequence[str], sizes: Sequence[int], versions: Sequence[str]
) -> list[FileIndex]:
    """Finds the records of files, or reads where an earlier call has found them.

    Args:
        folder: where the files are, a local path or a URL.
        names: the files, under the folder.
        sizes: their sizes in bytes.
        versions: a word for each that changes with its content.
    """
    import numpy as np

    base = folder.rstrip("/") + "/"
    key = hashlib.sha256(json.dumps([*names]).encode()).hexdigest()[:12]
    about = json.dumps([list(names), list(map(int, sizes)), list(versions)])
    places = [f"{base}.mox-index-{key}.npz", _place_in_cache(base, key)]
    lengths = next(filter(None, (_load(place, about) for place in places)), None)
    if lengths is not None:
        return [FileIndex(base + name, one) for name, one in zip(names, lengths, strict=True)]
    found = _scan(base, names, sizes)
    if not any(one.damage for one in found):
        counts = np.array([one.count for one in found])
        content = io.BytesIO()
        all_lengths = np.concatenate([one.lengths for one in found])
        np.savez_compressed(content, about=np.array(about), counts=counts, lengths=all_lengths)
        for place in places:
            with contextlib.suppress(OSError, MoxError):
                file.write(place, content.getvalue(), binary=True)
                break
    return found


def _place_in_cache(base: str, key: str) -> str:
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    name = hashlib.sha256(base.encode()).hexdigest()[:12]
    return os.path.join(cache, "mox", "record-index", f"{name}-{key}.npz")


def _load(place: str, about: str) -> list[Lengths] | None:
    """What is kept there, if it is about these very files."""
    import numpy as np

    try:
        with np.load(io.BytesIO(file.read(place, binary=True)), allow_pickle=False) as kept:
            if str(kept["about"]) != about:
                return None
            return np.split(kept["lengths"], np.cumsum(kept["counts"])[:-1])
    except (OSError, MoxError, ValueError, KeyError):
        return None
    except Exception as error:  # zipfile and zlib have errors of their own
        LOG.warning("%s is damaged (%s) and is written anew.", place, error)
        return None


def _scan(base: str, names: Sequence[str], sizes: Sequence[int]) -> list[FileIndex]:
    from tqdm import tqdm

    from mox_core.flags import get_flag
    from mox_core.hooks.progress import wants_progress

    bar = tqdm(
        total=sum(sizes),
        desc=f"counting records in {len(names)} files",
        unit="B",
        unit_scale=True,
        delay=2,
        disable=not wants_progress(get_flag("progress")),
    )
    with bar, ThreadPoolExecutor(min(_THREADS, len(names)), "mox-records") as pool:

        def find(name: str) -> FileIndex:
            location = locate(base + name)
            lengths, damage = _local(location, bar) if location.is_local else _remote(location, bar)
            return FileIndex(location.url, lengths, damage)

        return list(pool.map(find, names))


def _local(location: Location, bar: Any) -> tuple[Lengths, str | None]:
    """Reads nothing but the headers."""
    import numpy as np

    lengths: list[int] = []
    damage = None
    fd = os.open(location.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        at = 0
        try:
            while at < size:
                length = checked_length(os.pread(fd, HEADER, at), location.url, len(lengths))
                at += HEADER + length + FOOTER
                if at > size:
                    raise DataError(_cut_off(location.url, len(lengths), at - size))
                lengths.append(length)
        except DataError as error:
            damage = str(error)
        bar.update(size)
    finally:
        os.close(fd)
    return np.array(lengths, np.int64), damage


def _cut_off(url: str, number: int, lacking: int) -> str:
    return f"{url}, record {number} is cut off: {lacking} bytes are missing at the end of the file."


class _Headers:
    """Takes a file as it arrives and keeps the lengths of its records."""

    def __init__(self, url: str, bar: Any) -> None:
        self.url = url
        self.lengths: list[int] = []
        self.damage: str | None = None
        self._bar = bar
        self._header = b""
        self._skip = 0

    def __call__(self, chunk: memoryview) -> None:
        at, end = 0, len(chunk)
        self._bar.update(end)
        while at < end and self.damage is None:
            if self._skip:
                step = min(self._skip, end - at)
                self._skip -= step
                at += step
                continue
            part = chunk[at : at + HEADER - len(self._header)]
            self._header += bytes(part)
            at += len(part)
            if len(self._header) == HEADER:
                try:
                    length = checked_length(self._header, self.url, len(self.lengths))
                except DataError as error:
                    self.damage = str(error)
                    return
                self.lengths.append(length)
                self._header, self._skip = b"", length + FOOTER

    def finish(self) -> None:
        """Looks at how the file ended."""
        if self.damage is None and self._skip:
            self.lengths.pop()
            self.damage = _cut_off(self.url, len(self.lengths), self._skip)
        elif self.damage is None and self._header:
            lacking = HEADER - len(self._header)
            self.damage = _cut_off(self.url, len(self.lengths), lacking)


def _remote(location: Location, bar: Any) -> tuple[Lengths, str | None]:
    """Reads the whole file, keeping nothing: a request per header would take longer."""
    import numpy as np

    def once() -> tuple[_Headers, ObjectInfo]:
        headers = _Headers(location.url, bar)
        return headers, transfer.fetch(location.driver, location.path, headers)

    headers, _ = transfer.restarting(once)
    headers.finish()
    return np.array(headers.lengths, np.int64), headers.damage
