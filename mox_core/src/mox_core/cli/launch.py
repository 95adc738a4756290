"""`mox launch`: starts all processes of a cluster on this machine, watches and stops them."""

from __future__ import annotations

import argparse
import contextlib
import glob
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mox_core.cli.output import print_error

__all__ = ["main"]

_LAST_LINES = 20
_POLL = 0.1
_SECONDS_TO_END = 30.0

_EPILOG = """\
Each process is `mox run script.py ...` with the flags --job_name, --task_index, --ps_hosts and
--worker_hosts given to it in the environment (MOX_JOB_NAME, ...). Flags of mox before the script
are handed on. Ctrl-C ends all processes; so does one that fails.

examples:
  mox launch --ps 1 --workers 2 train.py
  mox launch --ps 2 --workers 2 --gpus 2 train.py --sync_replicas"""


@dataclass
class _Task:
    """One process of the job, whose lines are printed behind its name."""

    name: str
    process: subprocess.Popen[str]
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST_LINES))
    reader: threading.Thread | None = None

    @property
    def serves(self) -> bool:
        return self.name.startswith("ps")

    def send(self, number: int) -> None:
        """Sends a signal to the process and those that it started."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def read(self, lock: threading.Lock) -> None:
        """Prints what the process prints, until it ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            with lock:
                sys.stdout.write(f"[{self.name}] {line.rstrip()}\n")
                sys.stdout.flush()


def main(args: Sequence[str]) -> int:
    """Runs `mox launch`.

    Args:
        args: What follows `launch` on the command line.

    Returns:
        0; the exit code of the process that failed first; 128 + the number of a signal.
    """
    flags, own = _without_flags(args)
    options = _parser().parse_args(own)
    if options.workers < 1 or options.ps < 0 or (options.gpus is not None and options.gpus < 1):
        print_error("--workers and --gpus are 1 or more, --ps is 0 or more.")
        return 2
    if not os.path.isfile(options.script):
        print_error(f"cannot find the script {options.script!r}.")
        return 2
    run = [sys.executable, "-m", "mox_core.cli", "run"]
    command = [*run, *flags, options.script, *options.arguments]
    signals: deque[int] = deque()
    # Before there is anything to stop; the handlers only note what came.
    kept = {
        number: signal.signal(number, lambda received, frame: signals.append(received))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    tasks: list[_Task] = []
    try:
        for name, environment in _environments(options.ps, options.workers, options.gpus):
            tasks.append(_start(name, command, environment))
        lock = threading.Lock()
        for task in tasks:
            task.reader = threading.Thread(target=task.read, args=(lock,), daemon=True)
            task.reader.start()
        return _watch(tasks, signals)
    finally:
        for task in tasks:
            task.send(signal.SIGKILL)
            task.process.wait()
        for number, handler in kept.items():
            signal.signal(number, handler)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mox launch",
        description="Starts parameter servers and workers on this machine and watches over them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--ps", type=int, default=0, metavar="N", help="parameter servers (0)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="workers (1)")
    parser.add_argument("--gpus", type=int, metavar="N", help="towers, or GPUs, of each worker")
    parser.add_argument("script", help="Python script that calls mox.run")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="its arguments")
    return parser


def _without_flags(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """The flags of mox that stand before the script, and the other arguments."""
    from mox_core.flags import registry
    from mox_core.flags.arguments import scan
    from mox_core.plugins import get_manager

    get_manager().load_observers()  # they define flags, too
    script = next((i for i, one in enumerate(args) if os.path.isfile(one)), 0)
    flags: list[str] = []
    own: list[str] = []
    position = 0
    for found in scan(args[:script], registry().flags):
        own += args[position : found.start]
        flags += args[found.start : found.stop]
        position = found.stop
    return flags, [*own, *args[position:]]


def _environments(ps: int, workers: int, gpus: int | None) -> list[tuple[str, Mapping[str, str]]]:
    """Name and environment of each process."""
    ports = _free_ports(ps + workers)
    hosts = [f"127.0.0.1:{port}" for port in ports]
    shared = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if gpus is not None:
        shared["MOX_NUM_GPUS"] = str(gpus)
    if ps + workers > 1:
        shared["MOX_PS_HOSTS"] = ",".join(hosts[:ps])
        shared["MOX_WORKER_HOSTS"] = ",".join(hosts[ps:])
    environments: list[tuple[str, Mapping[str, str]]] = []
    for index in range(ps):
        own = {"MOX_JOB_NAME": "ps", "MOX_TASK_INDEX": str(index), "CUDA_VISIBLE_DEVICES": ""}
        environments.append((f"ps {index}", {**shared, **own}))
    devices = _gpus()
    each = gpus or 1
    for index in range(workers):
        own = {"MOX_JOB_NAME": "worker", "MOX_TASK_INDEX": str(index)}
        own["MOX_RANK"] = str(index)
        if workers > 1 and len(devices) >= workers * each:
            own["CUDA_VISIBLE_DEVICES"] = ",".join(devices[index * each : (index + 1) * each])
        environments.append((f"worker {index}", {**shared, **own}))
    return environments


def _gpus() -> list[str]:
    """The GPUs that may be shared out."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name]
    return [str(index) for index in range(len(glob.glob("/dev/nvidia[0-9]*")))]


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _start(name: str, command: Sequence[str], environment: Mapping[str, str]) -> _Task:
    options: dict[str, Any] = {"errors": "replace", "text": True}
    process = subprocess.Popen(
        command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # a group of its own, which can be killed as a whole
        **options,
    )
    return _Task(name, process)


def _watch(tasks: Sequence[_Task], signals: deque[int]) -> int:
    """Waits until all have ended; ends them when one fails, or when a signal comes."""
    code = 0
    deadline: float | None = None  # when those that are left are killed
    while any(task.process.poll() is None for task in tasks):
        if signals:
            received = signals.popleft()
            if code == 128 + received:
                break  # the second one: the caller kills what is left
            code = 128 + received
            deadline = _stop(tasks, received)
        failed = next((task for task in tasks if task.process.poll()), None)
        if failed is not None and not code:
            code = _tell(failed)
            deadline = _stop(tasks, signal.SIGTERM)
        workers_ended = all(task.process.poll() is not None for task in tasks if not task.serves)
        if workers_ended and deadline is None:
            deadline = time.monotonic() + _SECONDS_TO_END
        if deadline is not None and time.monotonic() > deadline:
            left = ", ".join(task.name for task in tasks if task.process.poll() is None)
            print_error(f"{left} did not end within {_SECONDS_TO_END:.0f} seconds and is killed.")
            break
        time.sleep(_POLL)
    failed = next((task for task in tasks if task.process.poll()), None)
    if failed is not None and not code:
        code = _tell(failed)
    for task in tasks:
        if task.process.poll() is not None and task.reader is not None:
            task.reader.join(_POLL * 10)
    return code


def _stop(tasks: Sequence[_Task], number: int) -> float:
    for task in tasks:
        task.send(number)
    return time.monotonic() + _SECONDS_TO_END


def _tell(task: _Task) -> int:
    """Shows the end of a failed task's output; returns the exit code as shells count."""
    if task.reader is not None:
        task.reader.join(1.0)
    code = task.process.returncode
    how = f"was killed by signal {-code}" if code < 0 else f"failed with exit code {code}"
    lines = "\n".join(f"  {line}" for line in task.lines) or "  (it printed nothing)"
    print_error(f"{task.name} {how}. The other processes are stopped. Its last lines:\n{lines}")
    return 128 - code if code < 0 else code
