"""`mox launch`: starts all processes of a cluster on this machine, watches and stops them."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mox_core.cli.output import print_error
from mox_core.launching import LaunchProcess, LaunchRequest, default_processes
from mox_core.plugins import get_manager
from mox_core.running.select_engine import engine_name

__all__ = ["main"]

_LAST_LINES = 20
_POLL = 0.1
_SECONDS_TO_END = 30.0

_EPILOG = """\
Each process is `mox run script.py ...`, with the flags of mox that stand before the script. What
they have to know of each other is given to them in the environment: the flags --job_name,
--task_index, --ps_hosts and --worker_hosts (MOX_JOB_NAME, ...), or what the engine asks for. Ctrl-C
ends all of them; so does one that fails.

examples:
  mox launch --ps 1 --workers 2 train.py
  mox launch --ps 2 --workers 2 --gpus 2 train.py --sync_replicas
  mox launch --workers 2 train.py --engine mxnet"""


@dataclass
class _Task:
    """One process of the job, whose lines are printed behind its name."""

    planned: LaunchProcess
    process: subprocess.Popen[str]
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST_LINES))
    reader: threading.Thread | None = None

    @property
    def name(self) -> str:
        return self.planned.name

    @property
    def serves(self) -> bool:
        return self.planned.serves

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


class _Deadline:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def is_over(self) -> bool:
        return time.monotonic() > self._end


def main(args: Sequence[str]) -> int:
    """Runs `mox launch`.

    Args:
        args: What follows `launch` on the command line.

    Returns:
        0; the exit code of the process that failed first; 128 + the number of a signal.
    """
    flags, own = _without_flags(args)
    options = _parser().parse_args(own)
    if (
        options.workers < 1
        or (options.ps or 0) < 0
        or (options.gpus is not None and options.gpus < 1)
    ):
        print_error("--workers and --gpus are 1 or more, --ps is 0 or more.")
        return 2
    if not os.path.isfile(options.script):
        print_error(f"cannot find the script {options.script!r}.")
        return 2
    run = [sys.executable, "-m", "mox_core.cli", "run"]
    command = [*run, *flags, options.script, *options.arguments]
    engine = engine_name(options.engine or _engine_in(options.arguments))
    request = LaunchRequest(options.workers, options.ps, options.gpus)
    processes = _processes(engine, request)
    signals: deque[int] = deque()
    # Before there is anything to stop; the handlers only note what came.
    kept = {
        number: signal.signal(number, lambda received, frame: signals.append(received))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    tasks: list[_Task] = []
    try:
        for planned in processes:
            tasks.append(_start(planned, command))
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
        description="Starts all processes of a job on this machine and watches over them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--engine", metavar="NAME", help="engine of the script; default: its flag")
    parser.add_argument("--ps", type=int, metavar="N", help="parameter servers (0)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="workers (1)")
    parser.add_argument("--gpus", type=int, metavar="N", help="towers, or GPUs, of each worker")
    parser.add_argument("script", help="Python script that calls mox.run")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="its arguments")
    return parser


def _without_flags(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """The flags of mox that stand before the script, and the other arguments."""
    from mox_core.flags import registry
    from mox_core.flags.arguments import scan

    get_manager().load_observers()  # they define flags, too
    known = {name: flag for name, flag in registry().flags.items() if name != "engine"}
    script = next((i for i, one in enumerate(args) if os.path.isfile(one)), 0)
    flags: list[str] = []
    own: list[str] = []
    position = 0
    for found in scan(args[:script], known):
        own += args[position : found.start]
        flags += args[found.start : found.stop]
        position = found.stop
    return flags, [*own, *args[position:]]


def _processes(engine: str | None, request: LaunchRequest) -> Sequence[LaunchProcess]:
    """What the engine wants to be started, or the default."""
    if engine is not None:
        found = get_manager().ask("engine", engine, "mox_launch", request=request)
        if found is not None:
            return list(found)
    return default_processes(request)


def _engine_in(arguments: Sequence[str]) -> str | None:
    """The value of `--engine` among a script's arguments."""
    for place, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == "--engine":
            return value if equals else next(iter(arguments[place + 1 :]), None)
    return None


def _start(planned: LaunchProcess, command: Sequence[str]) -> _Task:
    options: dict[str, Any] = {"errors": "replace", "text": True}
    process = subprocess.Popen(
        planned.command or command,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **planned.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # a group of its own, which can be killed as a whole
        **options,
    )
    return _Task(planned, process)


def _watch(tasks: Sequence[_Task], signals: deque[int]) -> int:
    """Waits until all have ended; ends them when one fails, or when a signal comes."""
    code = 0
    deadline: _Deadline | None = None  # when those that are left are killed
    while any(task.process.poll() is None for task in tasks):
        if signals:
            received = signals.popleft()
            if code == 128 + received:
                break  # the second one: the caller kills what is left
            code = 128 + received
            deadline = _stop(tasks, received, _SECONDS_TO_END)
        failed = next((task for task in tasks if task.process.poll()), None)
        if failed is not None and not code:
            code = _tell(failed)
            patience = max(task.planned.patience for task in tasks)
            deadline = _stop(tasks, signal.SIGTERM, patience)
        workers_ended = all(task.process.poll() is not None for task in tasks if not task.serves)
        if workers_ended and deadline is None:
            deadline = _Deadline(_SECONDS_TO_END)
        if deadline is not None and deadline.is_over():
            left = ", ".join(task.name for task in tasks if task.process.poll() is None)
            print_error(f"{left} did not end within {deadline.seconds:.0f} seconds and is killed.")
            break
        time.sleep(_POLL)
    failed = next((task for task in tasks if task.process.poll()), None)
    if failed is not None and not code:
        code = _tell(failed)
    for task in tasks:
        if task.process.poll() is not None and task.reader is not None:
            task.reader.join(_POLL * 10)
    return code


def _stop(tasks: Sequence[_Task], number: int, seconds: float) -> _Deadline:
    for task in tasks:
        task.send(number)
    return _Deadline(seconds)


def _tell(task: _Task) -> int:
    """Shows the end of a failed task's output; returns the exit code as shells count."""
    if task.reader is not None:
        task.reader.join(1.0)
    code = task.process.returncode
    how = f"was killed by signal {-code}" if code < 0 else f"failed with exit code {code}"
    lines = "\n".join(f"  {line}" for line in task.lines) or "  (it printed nothing)"
    print_error(f"{task.name} {how}. The other processes are stopped. Its last lines:\n{lines}")
    return 128 - code if code < 0 else code
