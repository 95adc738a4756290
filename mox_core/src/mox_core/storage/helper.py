"""A second process for copies of many small files, which Python's lock holds to one processor.

A small file costs about a tenth of a millisecond of Python; threads cannot share that, two
processes can. A `Helper` starts Python with nothing but the drivers imported, tells it through a
socket how to make them, lends it tasks of the pool and settles what it reports. Whatever goes wrong
with it, the pool gets its tasks back and copies them itself.

The other end is `mox_core.storage.helping`. It belongs to the copy: it ends when the socket does,
and removes its temporary files first, so that Ctrl-C, SIGTERM and even the death of this process
leave nothing behind. Credentials go through the socket, never over the command line.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mox_core._lazy import lazy_logger
from mox_core.storage.auth import AuthError
from mox_core.storage.driver import Driver, ObjectInfo, Recipe
from mox_core.storage.pool import CPUS

if TYPE_CHECKING:
    import subprocess

    from mox_core.storage.copying import Copier, Whole
    from mox_core.storage.pool import Pool

__all__ = ["MANY", "Helpers"]

LOG = lazy_logger("mox.file")

MANY = 1000
"""From so many files on a helper pays for its start, about 0.05 s of CPU time."""

BATCH = 64
"""Most tasks that are lent at a time; as many again may wait at the helper."""

BATCH_BYTES = 8 << 20

UNKNOWN = 1 << 20
"""Bytes that a file of unknown size counts for in a batch."""

GRACE = 0.9
"""Seconds that a helper gets to tidy up."""

CODE = "import sys; sys.path[:] = sys.argv[1:]; from mox_core.storage.helping import main; main()"


def send(line: socket.socket, message: Any) -> None:
    """Sends what marshal can write: both ends are the same Python."""
    data = marshal.dumps(message)
    line.sendall(len(data).to_bytes(8, "little") + data)


def receive(line: socket.socket) -> Any:
    """Waits for the next message.

    Raises:
        EOFError: the other end hung up.
    """
    return marshal.loads(_exactly(line, int.from_bytes(_exactly(line, 8), "little")))


def _exactly(line: socket.socket, size: int) -> bytes:
    data = line.recv(size, socket.MSG_WAITALL)
    while len(data) < size:
        more = line.recv(size - len(data), socket.MSG_WAITALL)
        if not more:
            raise EOFError
        data += more
    return data


class Helpers:
    """The helper processes of one copy; none before `start`.

    Args:
        source: driver of the source.
        target: driver of the target.
        threads: how many files are copied at a time, by all processes together.
    """

    def __init__(self, source: Driver, target: Driver, *, threads: int) -> None:
        self._source = source
        self._target = target
        self._threads = threads
        self._helpers: list[Helper] = []

    def start(self, copier: Copier) -> None:
        """Starts as many as pay; harmless where there can be none."""
        processes = min(_processes(), self._threads)
        recipes = self._source.recipe(), self._target.recipe()
        if self._helpers or processes < 2 or None in recipes or not _possible():
            return
        threads = self._threads // processes
        said = [recipe for recipe in recipes if recipe is not None]
        self._helpers = [
            Helper(copier, said, threads=threads, processes=processes) for _ in range(1, processes)
        ]

    def hang_up(self) -> None:
        """Makes all helpers stop and tidy up."""
        for helper in self._helpers:
            helper.hang_up()

    def __enter__(self) -> Helpers:
        return self

    def __exit__(self, *_: object) -> None:
        deadline = time.monotonic() + GRACE
        self.hang_up()
        for helper in self._helpers:
            helper.end(deadline)


class Helper:
    """One helper process, and the thread that keeps it busy.

    Args:
        copier: whose tasks are lent.
        recipes: how to make the drivers of source and target.
        threads: how many files it copies at a time.
        processes: how many processes share the processors.
    """

    def __init__(
        self, copier: Copier, recipes: Sequence[Recipe], *, threads: int, processes: int
    ) -> None:
        self._copier = copier
        self._pool: Pool = copier.pool
        self._setup = (os.getpid(), [_packed(recipe) for recipe in recipes], threads, processes)
        self._folders = [_folder_of(name) for name in (__name__, *(r.factory for r in recipes))]
        self._threads = threads
        self._processes = processes
        self._lent: dict[int, Whole] = {}
        self._line, self._far_end = socket.socketpair()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="mox-file-helper", daemon=True)
        self._thread.start()

    def hang_up(self) -> None:
        """Makes the process stop and tidy up."""
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)

    def end(self, deadline: float) -> None:
        """Waits for the process, after `hang_up`; one that has nothing to tidy up is killed."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        process = self._process
        if process is not None:
            if self._lent:
                with contextlib.suppress(Exception):  # it takes too long
                    process.wait(max(0.0, deadline - time.monotonic()))
            process.kill()
            process.wait()
        self._line.close()

    def _run(self) -> None:
        try:
            self._start()
            receive(self._line)  # it is ready
            self._pool.share(-self._threads, processes=self._processes)
            try:
                self._feed()
            finally:
                self._pool.share(self._threads, processes=1)
        except (OSError, EOFError) as error:
            LOG.debug("a helper process ended early: %r", error)
        finally:
            self._pool.take_back(self._lent.values())

    def _start(self) -> None:
        import subprocess

        folders = dict.fromkeys([*self._folders, *(folder or os.getcwd() for folder in sys.path)])
        flags = ["-I", "-S", f"-Xutf8={int(sys.getfilesystemencoding() == 'utf-8')}"]
        if sys.dont_write_bytecode:
            flags.append("-B")
        with self._far_end as far_end:
            # A session of its own: Ctrl-C reaches this process alone, which then hangs up.
            self._process = subprocess.Popen(
                [sys.executable, *flags, "-c", CODE, *folders],
                stdin=far_end.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=None if os.environ.get("MOX_DEBUG") else subprocess.DEVNULL,
                start_new_session=True,
            )
        send(self._line, self._setup)

    def _feed(self) -> None:
        from mox_core.storage.copying import Whole

        number = 0
        while True:
            while len(self._lent) < BATCH:
                tasks = self._pool.lend(Whole, count=BATCH, fits=self._batch(), wait=not self._lent)
                if not tasks:
                    break
                jobs = []
                for task in tasks:
                    number += 1
                    self._lent[number] = task
                    job = task.job
                    info = job.info and tuple(job.info)
                    jobs.append((number, job.source, job.target, info))
                send(self._line, jobs)
            if not self._lent:
                return  # the pool has ended
            self._settle(*receive(self._line))

    def _batch(self) -> Callable[[Whole], bool]:
        """Says of one task after the other whether it goes into a new batch."""
        left = BATCH_BYTES
        largest = self._copier.sizes.whole

        def fits(task: Whole) -> bool:
            nonlocal left
            size = task.job.info.size if task.job.info is not None else UNKNOWN
            fits = left > 0 and size <= largest
            left -= size
            return fits

        return fits

    def _settle(self, done: list[int], failed: list[tuple[int, bytes]], size: int) -> None:
        self._copier.progress.bytes(size)
        for number in done:
            self._copier.settled(self._lent.pop(number).job)
        for number, error in failed:
            import pickle

            self._copier.settled(self._lent.pop(number).job, pickle.loads(error))
        self._pool.settle(len(done) + len(failed))


def _packed(recipe: Recipe) -> tuple[str, str, dict[str, Any]]:
    return recipe.factory, recipe.scheme, recipe.settings._asdict()


def unpacked(info: tuple[Any, ...] | None) -> ObjectInfo | None:
    """What a message holds in place of an ObjectInfo."""
    return None if info is None else ObjectInfo(*info)


def _folder_of(name: str) -> str:
    """The folder from which a module's package is imported, without .pth files and import hooks."""
    top = name.partition(":")[0].partition(".")[0]
    file = getattr(sys.modules.get(top), "__file__", None) or ""
    if os.path.basename(file).startswith("__init__."):
        file = os.path.dirname(file)
    return os.path.dirname(file) or "."


def _processes() -> int:
    """How many processes copy together: MOX_FILE_PROCESSES, else two where there are processors."""
    text = os.environ.get("MOX_FILE_PROCESSES", "")
    if text and (not text.isdecimal() or not int(text)):
        raise AuthError(f"MOX_FILE_PROCESSES must be a number from 1 on, not {text!r}")
    return int(text) if text else min(2, CPUS)


def _possible() -> bool:
    """Whether a new Python would work as this one does.

    A program that Python is built into cannot be started again as Python; whoever replaced the
    functions of `socket` (a proxy, gevent) did so in this process only.
    """
    plain = os.path.basename(sys.executable or "").startswith(("python", "pypy"))
    functions = socket.socket, socket.create_connection, socket.getaddrinfo
    return plain and all(function.__module__ == "socket" for function in functions)
