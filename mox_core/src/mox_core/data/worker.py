"""A process that reads samples for another one, which it talks to over a pipe."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection, Pipe
from typing import Any

from mox_core.data.source import Sample, SampleError, Source
from mox_core.errors import DataError
from mox_core.storage.registry import DRIVERS

__all__ = ["Worker", "main", "pickled_start"]


def pickled_start(source: Source, threads: int) -> bytes:
    """What a worker has to know.

    Args:
        source: what it reads.
        threads: how many samples it reads at a time.

    Raises:
        DataError: the source cannot be pickled, or only this script could read it.
    """
    try:
        data = pickle.dumps(source)
    except Exception as error:
        raise DataError(f"{type(source).__name__} cannot go to other processes: {error}.") from None
    if b"__main__" in data and type(source).__module__ == "__main__":
        raise DataError(
            f"{type(source).__name__} is defined in the script, where other processes cannot find "
            "it.\n  Put it into a module, or read in threads (reader_class=None)."
        )
    return pickle.dumps((sys.path, DRIVERS.said, threads, data))


class Worker:
    """A process that reads what it is asked for, one request after the other.

    Args:
        start: what `pickled_start` gave.
    """

    def __init__(self, start: bytes) -> None:
        self._pipe, theirs = Pipe()
        script = "from mox_core.data.worker import main; main()"
        command = [sys.executable, "-c", script, str(theirs.fileno())]
        # Where mox_core is found, also when the script changed sys.path.
        paths = [path for path in sys.path if path]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        self._process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=environment
        )
        theirs.close()
        with contextlib.suppress(ConnectionError):
            self._pipe.send_bytes(start)

    def ask(self, indices: list[int]) -> None:
        """Asks for samples; the answer comes after those of earlier requests."""
        with contextlib.suppress(ConnectionError):  # `answer` tells
            self._pipe.send(indices)

    def answer(self) -> list[Sample | SampleError]:
        """Waits for the oldest answer.

        Raises:
            DataError: the process ended.
        """
        try:
            answer = self._pipe.recv()
        except (EOFError, ConnectionError):
            code = self._process.wait()
            raise DataError(
                f"a process that reads the data ended (exit code {code}).\n"
                "  Look at its output above; -9 means that the machine ran out of memory."
            ) from None
        if isinstance(answer, BaseException):
            raise answer
        return answer  # type: ignore[no-any-return]

    def end(self) -> None:
        """Ends the process."""
        self._pipe.close()
        self._process.kill()  # it only reads
        self._process.wait()


def _serve(pipe: Connection) -> None:
    """The life of a worker: several requests are read at a time, answered in their order."""
    sys.path[:], said, threads, data = pickle.loads(pipe.recv_bytes())
    DRIVERS.adopt(said)
    source: Source = pickle.loads(data)
    answers: deque[Future[list[Sample | SampleError]]] = deque()

    def read(indices: list[int]) -> list[Sample | SampleError]:
        return [_read(source, index) for index in indices]

    with ThreadPoolExecutor(threads, "mox-data") as pool:
        while True:
            while pipe.poll(0 if answers else None):
                answers.append(pool.submit(read, pipe.recv()))
            try:
                answer: Any = answers.popleft().result()
            except Exception as error:
                answer = error
            pipe.send(answer)


def _read(source: Source, index: int) -> Sample | SampleError:
    try:
        return source.read(index)
    except SampleError as error:
        return error


def main() -> None:
    """Serves the process whose end of the pipe is given on the command line."""
    with contextlib.suppress(EOFError, ConnectionError, KeyboardInterrupt):
        _serve(Connection(int(sys.argv[1])))
    os._exit(0)  # threads may still wait for a server
