"""Several real processes over gloo, started in each of the ways that there are."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

SCRIPT = Path(__file__).with_name("train_in_processes.py")
PYTHON = sys.executable


@pytest.fixture
def start():
    """Starts a command; what still runs after the test is killed."""
    started = []

    def start(*command):
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            list(map(str, command)),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def output_of(process, code=0):
    output, _ = process.communicate(timeout=120)
    assert process.returncode == code, output
    return output


def free_ports(count):
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def by_hand(start, *arguments, count=2):
    hosts = ",".join(f"127.0.0.1:{port}" for port in free_ports(count))
    flags = [(f"--worker_hosts={hosts}", f"--task_index={index}") for index in range(count)]
    return [start(PYTHON, SCRIPT, *arguments, *own) for own in flags]


def lines(output):
    return sorted(re.findall(r"RANK \d: .*", output))


def newest(log_dir):
    (name,) = re.findall(r'^model_checkpoint_path: "(.*)"', (log_dir / "checkpoint").read_text())
    return load_file(log_dir / f"{name}.safetensors")


def test_two_processes_of_torchrun_equal_one_with_the_whole_batch(start, tmp_path):
    # It finds a port by itself; one that was free a moment ago may be taken on a busy machine.
    torchrun = [PYTHON, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", SCRIPT]
    one = start(PYTHON, SCRIPT, "--log_dir", tmp_path / "one", "--counts", 10)
    two = start(*torchrun, "--log_dir", tmp_path / "two", "--counts", "10,10", "--evaluate")
    output_of(one)
    output = output_of(two)
    got, wanted = newest(tmp_path / "two"), newest(tmp_path / "one")
    assert got.keys() == wanted.keys()
    assert got["global_step"] == 10
    for name, array in wanted.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-4, atol=1e-6, err_msg=name)
    assert output.count("step: 0(global step: 0)") == 1, "only rank 0 logs"
    trained, evaluated = "10 steps, the data ended", "evaluated at step 10"
    assert lines(output) == [f"RANK {r}: {did}" for r in (0, 1) for did in (trained, evaluated)]


def test_all_processes_of_a_launch_end_with_the_first(start):
    """With the one whose data end; in a second run, with the one of which a hook stops.

    A third run, in which the processes would not train the same variables, does not begin.
    """
    launch = [PYTHON, "-m", "mox_core.cli", "launch", "--workers", 2, SCRIPT]
    output = output_of(start(*launch, "--counts", "9,4", "--then_stop_at", 3, "--then_differ"))
    differ = "the losses of rank 1 reach other variables than those of rank 0."
    for rank, stopped in enumerate(("enough", "another process ended the run")):
        did = ["4 steps, the data ended", f"3 steps, {stopped}", differ]
        own = [line for line in lines(output) if line.startswith(f"RANK {rank}: ")]
        assert own == sorted(f"RANK {rank}: {one}" for one in did)


@pytest.mark.parametrize("failing", [0, 1])
def test_the_other_ends_with_the_error_of_the_one_that_failed(start, failing):
    """Rank 0 holds what the processes tell each other, so that it has to outlive its own end."""
    processes = by_hand(start, "--counts", "9,9", "--fail_at", 4, "--rank_that_fails", failing)
    error = "ValueError: file 17 cannot be read"
    output = output_of(processes[1 - failing], 1)
    assert f"rank {failing} failed: {error}" in output
    assert error in output_of(processes[failing], 1)


def test_the_other_ends_when_one_is_killed(start):
    processes = by_hand(start, "--counts", "9,9", "--die_at", 4)
    assert "rank 0 lost another process: " in output_of(processes[0], 1)
    output_of(processes[1], -signal.SIGKILL)


@pytest.mark.parametrize(
    ("environment", "flags", "message"),
    [
        ({"WORLD_SIZE": "2"}, {}, "RANK.*is not set.*torchrun"),
        ({}, {"ps_hosts": "a:1"}, "has no parameter servers.*mox launch --workers"),
        ({}, {"worker_hosts": "a:1,b:1", "task_index": 2}, "task_index is 2.*names 2 processes"),
        (
            {},
            {"worker_hosts": "127.0.0.1:{port},b:1", "session_timeout": 1},
            "rank 0 cannot join the other 1 processes.*--session_timeout",
        ),
    ],
)
def test_a_place_among_processes_that_does_not_do(monkeypatch, environment, flags, message):
    from mox_core.engine import EngineConfig
    from mox_core.errors import EngineError
    from mox_core.flags import get_flag, registry, set_flag
    from mox_torch import TorchEngine

    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    try:
        for name, value in flags.items():
            set_flag(name, value.format(port=free_ports(1)[0]) if "{" in str(value) else value)
        with pytest.raises(EngineError, match=f"(?s){message}"):
            TorchEngine().setup(EngineConfig(towers=1, get_flag=get_flag))
    finally:
        registry().reset()
