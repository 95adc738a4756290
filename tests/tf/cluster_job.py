"""The processes of a cluster on this machine, one by one, for tests that kill them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = Path(__file__).with_name("cluster_script.py")


class ClusterJob:
    """Starts, watches and kills tasks such as "ps 0" and "worker 1".

    Args:
        folder: for their output.
        ps, workers: how many.
        arguments: of the script, and flags of mox.
    """

    def __init__(self, folder, *arguments, ps=1, workers=2, script=SCRIPT):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.arguments = [str(one) for one in arguments]
        self.script = script
        self.names = [f"ps {i}" for i in range(ps)] + [f"worker {i}" for i in range(workers)]
        self.addresses = dict(zip(self.names, _free_addresses(len(self.names)), strict=True))
        self.processes = {}

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for name in list(self.processes):
            self.kill(name)

    def hosts(self, job):
        return ",".join(at for name, at in self.addresses.items() if name.startswith(job))

    def start(self, *names):
        """Starts tasks, or starts them again; none: all."""
        for name in names or self.names:
            job, index = name.split()
            command = [sys.executable, self.script, *self.arguments]
            command += [f"--job_name={job}", f"--task_index={index}"]
            command += [f"--ps_hosts={self.hosts('ps')}", f"--worker_hosts={self.hosts('worker')}"]
            with open(self.log(name), "ab") as log:
                self.processes[name] = subprocess.Popen(
                    command,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, "PYTHONUNBUFFERED": "1"},
                    start_new_session=True,
                )
        return self

    def log(self, name):
        return self.folder / f"{name.replace(' ', '_')}.log"

    def text(self, name):
        return self.log(name).read_text(errors="replace")

    def wait_for(self, name, pattern, *, count=1, since=0, timeout=90):
        """Waits until the task has printed the pattern so many times; returns the last match.

        Only what follows the first `since` characters of its output counts.
        """
        deadline = time.monotonic() + timeout
        while True:
            found = list(re.finditer(pattern, self.text(name)[since:]))
            if len(found) >= count:
                return found[count - 1]
            ended = self.processes[name].poll() is not None
            assert not ended, f"{name} ended without {pattern!r}:\n{self.text(name)[-3000:]}"
            assert time.monotonic() < deadline, f"no {pattern!r}:\n{self.all_text()}"
            time.sleep(0.05)

    def kill(self, name, number=signal.SIGKILL):
        process = self.processes[name]
        if process.poll() is None:
            os.killpg(process.pid, number)
            if number == signal.SIGKILL:
                process.wait()

    def wait(self, *names, timeout=120):
        """Waits until the tasks (none: all) have ended; returns their exit codes."""
        deadline = time.monotonic() + timeout
        codes = []
        for name in names or self.names:
            try:
                codes.append(self.processes[name].wait(max(deadline - time.monotonic(), 0.1)))
            except subprocess.TimeoutExpired:
                raise AssertionError(f"{name} hangs:\n{self.all_text()}") from None
        return codes

    def result(self, name):
        """What the script printed last of its RunResult."""
        return json.loads(re.findall(r"RESULT (.*)", self.text(name))[-1])

    def all_text(self):
        return "\n".join(
            f"---- {name}\n{self.text(name)[-2500:]}"
            for name in self.names
            if name in self.processes
        )


def run_alone(folder, *arguments):
    """Runs the script in one process; returns what it printed."""
    done = subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=folder,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def _free_addresses(number):
    sockets = [socket.socket() for _ in range(number)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    finally:
        for one in sockets:
            one.close()
