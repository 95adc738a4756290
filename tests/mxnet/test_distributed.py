"""Several real processes that `mox launch` starts, with MXNet's scheduler and server."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mox_core.engine import EngineConfig
from mox_core.errors import EngineError
from mox_core.flags import get_flag
from mox_core.launching import LaunchRequest
from mox_core.plugins import get_manager
from mox_mxnet import MXNetEngine
from mox_mxnet.checkpoint_files import read_arrays

SCRIPT = Path(__file__).with_name("train_in_processes.py")


def start(*arguments, workers=2, ps=1):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MOX_DEBUG": ""}
    command = [sys.executable, "-m", "mox_core.cli", "launch", "--engine", "mxnet"]
    command += ["--workers", workers, "--ps", ps, SCRIPT, *arguments]
    return subprocess.run(
        list(map(str, command)), env=environment, capture_output=True, text=True, timeout=120
    )


def ends(done):
    return sorted(re.findall(r"RANK \d: .*", done.stdout))


def newest(log_dir):
    (name,) = re.findall(r'^model_checkpoint_path: "(.*)"', (log_dir / "checkpoint").read_text())
    return read_arrays(str(log_dir / name))


def test_two_processes_equal_one_with_the_whole_batch(tmp_path):
    two = start("--log_dir", tmp_path / "two", "--counts", "10,10", ps=2)
    assert two.returncode == 0, two.stdout + two.stderr
    one = start("--log_dir", tmp_path / "one", "--counts", "10", workers=1)
    assert one.returncode == 0, one.stdout + one.stderr
    got, wanted = newest(tmp_path / "two"), newest(tmp_path / "one")
    assert got.keys() == wanted.keys()
    assert got["global_step"] == 10
    for name, array in wanted.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-4, atol=1e-6, err_msg=name)
    assert two.stdout.count("step: 0(global step: 0)") == 1, "only rank 0 logs"


def test_all_end_with_the_first_whose_data_end(tmp_path):
    done = start("--counts", "9,4")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ends(done) == [f"RANK {rank}: 4 steps, the data ended" for rank in (0, 1)]


def test_all_end_when_a_hook_of_one_stops(tmp_path):
    done = start("--counts", "9,9", "--stop_at", 3)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ends(done) == [
        "RANK 0: 3 steps, enough",
        "RANK 1: 3 steps, another process ended the run",
    ]


def test_the_others_end_with_the_error_of_the_one_that_failed(tmp_path):
    done = start("--counts", "9,9", "--fail_at", 4)
    assert done.returncode == 1
    assert "[worker 0] " in done.stdout
    assert "rank 1 failed: ValueError: file 17 cannot be read" in done.stdout
    assert not ends(done)


def test_a_worker_that_is_killed_ends_the_job(tmp_path):
    done = start("--counts", "9,9", "--die_at", 4)
    assert done.returncode == 137
    assert "worker 1 was killed by signal 9. The other processes are stopped." in done.stderr
    assert not ends(done)


def test_a_scheduler_whose_port_is_taken_says_so():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environment = {
            **os.environ,
            "DMLC_ROLE": "scheduler",
            "DMLC_PS_ROOT_URI": "127.0.0.1",
            "DMLC_PS_ROOT_PORT": str(port),
        }
        done = subprocess.run(
            [sys.executable, "-m", "mox_mxnet.serve"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1
    assert f"the scheduler cannot listen on 127.0.0.1:{port}" in done.stderr


def test_one_worker_needs_no_scheduler():
    asked = get_manager().ask("engine", "mxnet", "mox_launch", request=LaunchRequest(1, gpus=2))
    (worker,) = asked
    assert worker.command is None
    assert worker.environment == {"MOX_RANK": "0", "MOX_NUM_GPUS": "2"}


def test_an_incomplete_environment_is_refused(monkeypatch):
    monkeypatch.setenv("DMLC_ROLE", "worker")
    monkeypatch.delenv("DMLC_PS_ROOT_URI", raising=False)
    with pytest.raises(EngineError, match="(?s)DMLC_PS_ROOT_URI.*mox launch --engine mxnet"):
        MXNetEngine().setup(EngineConfig(towers=1, get_flag=get_flag))


def test_hosts_of_another_engine_are_refused(monkeypatch):
    flags = {"ps_hosts": "a:1", "worker_hosts": "a:2,b:2"}
    with pytest.raises(EngineError, match="(?s)no --ps_hosts.*mox launch --engine mxnet"):
        MXNetEngine().setup(
            EngineConfig(towers=1, get_flag=lambda name: flags.get(name) or get_flag(name))
        )
