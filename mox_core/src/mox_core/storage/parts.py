"""Large files in parts: how large these are, and their digest when parts arrive in any order."""

from __future__ import annotations

import os
import threading
from typing import NamedTuple

from mox_core.storage import transfer
from mox_core.storage.auth import AuthError
from mox_core.storage.driver import Driver

__all__ = ["InOrder", "Sizes"]

HASH_STEP = 1 << 20


class Sizes(NamedTuple):
    """From which size on a file is copied in parts, and how large they are, in bytes."""

    whole: int = 64 << 20
    part: int = 16 << 20

    @classmethod
    def from_environment(cls) -> Sizes:
        """Reads MOX_FILE_LARGE_FILE_PART_SIZE: files of more than four parts are split."""
        text = os.environ.get("MOX_FILE_LARGE_FILE_PART_SIZE", "")
        if not text:
            return cls()
        if not text.isdigit() or not int(text):
            raise AuthError(
                f"MOX_FILE_LARGE_FILE_PART_SIZE must be a number of bytes, not {text!r}"
            )
        return cls(whole=4 * int(text), part=int(text))

    def part_of(self, size: int, driver: Driver) -> int:
        """The part size for an upload: not too small, and not too many parts."""
        can = driver.capabilities
        fewest = -(-size // can.max_parts)
        rounded = -(-fewest // (1 << 20)) << 20 if fewest > self.part else self.part
        return max(rounded, can.min_part_size)


class InOrder:
    """Digests a file whose parts arrive in any order, as soon as they join the ones before.

    Args:
        fd: the file.
        wanted: `algorithm:hex` of the whole, or empty: then nothing is compared.
    """

    def __init__(self, fd: int, wanted: str) -> None:
        self._fd = fd
        self._wanted = wanted
        self._digest = transfer.new_digest(wanted)
        self._lock = threading.Lock()
        self._arrived: dict[int, tuple[int, int]] = {}
        self._next = 0
        self._busy = False

    def done(self, number: int, start: int, end: int) -> None:
        """Part `number` (from 0), from `start` to `end`, is in the file.

        One thread at a time reads what is due.
        """
        if self._digest is None:
            return
        with self._lock:
            self._arrived[number] = (start, end)
            if self._busy:
                return
            self._busy = True
        while True:
            with self._lock:
                due = self._arrived.pop(self._next, None)
                if due is None:
                    self._busy = False
                    return
                self._next += 1
            for at in range(due[0], due[1], HASH_STEP):
                data = os.pread(self._fd, min(HASH_STEP, due[1] - at), at)
                self._digest.update(memoryview(data))

    def check(self, url: str) -> None:
        """Compares with what the server vouches for."""
        if self._digest is not None:
            transfer.digest_of(self._digest, self._wanted, url)
