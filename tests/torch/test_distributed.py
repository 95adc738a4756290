"""Several real processes that torchrun starts, over gloo."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

SCRIPT = Path(__file__).with_name("train_in_processes.py")


def start(*arguments, processes=2):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["MOX_DEBUG"] = ""
    command = [sys.executable, SCRIPT]
    if processes > 1:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
        command += ["--master-addr=127.0.0.1", f"--master-port={port}", SCRIPT]
    return subprocess.run(
        [*command, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def lines(done):
    return sorted(re.findall(r"RANK \d: .*", done.stdout))


def newest(log_dir):
    (name,) = re.findall(r'^model_checkpoint_path: "(.*)"', (log_dir / "checkpoint").read_text())
    return load_file(log_dir / f"{name}.safetensors")


def test_two_processes_equal_one_with_the_whole_batch(tmp_path):
    two = start("--log_dir", tmp_path / "two", "--counts", "10,10")
    assert two.returncode == 0, two.stderr
    one = start("--log_dir", tmp_path / "one", "--counts", "10", processes=1)
    assert one.returncode == 0, one.stderr
    got, wanted = newest(tmp_path / "two"), newest(tmp_path / "one")
    assert got.keys() == wanted.keys()
    assert got["global_step"] == 10
    for name, array in wanted.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-4, atol=1e-6, err_msg=name)
    assert two.stderr.count("step: 0(global step: 0)") == 1, "only rank 0 logs"


def test_all_end_with_the_first_whose_data_end(tmp_path):
    done = start("--log_dir", tmp_path, "--counts", "9,4")
    assert done.returncode == 0, done.stderr
    assert lines(done) == [f"RANK {rank}: 4 steps, the data ended" for rank in (0, 1)]


def test_all_end_when_a_hook_of_one_stops(tmp_path):
    done = start("--log_dir", tmp_path, "--counts", "9,9", "--stop_at", 3)
    assert done.returncode == 0, done.stderr
    assert lines(done) == [
        "RANK 0: 3 steps, enough",
        "RANK 1: 3 steps, another process ended the run",
    ]


def test_the_others_end_with_the_error_of_the_one_that_failed(tmp_path):
    done = start("--log_dir", tmp_path, "--counts", "9,9", "--fail_at", 4)
    assert done.returncode != 0
    assert "rank 1 failed: ValueError: file 17 cannot be read" in done.stderr
    assert not lines(done)


def test_an_incomplete_environment_is_refused(monkeypatch):
    from mox_core.engine import EngineConfig
    from mox_core.errors import EngineError
    from mox_core.flags import get_flag
    from mox_torch import TorchEngine

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(EngineError, match="(?s)RANK.*torchrun"):
        TorchEngine().setup(EngineConfig(towers=1, get_flag=get_flag))
