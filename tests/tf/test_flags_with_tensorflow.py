from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"
)

SCRIPT = """
import tensorflow.compat.v1 as tf
import mox_core as mox

tf.flags.DEFINE_string("data_url", None, "folder of the data")
tf.flags.DEFINE_integer("batch_size", 32, "samples per batch")
flags = tf.flags.FLAGS


def main(*args):
    print(flags.data_url, flags.batch_size, flags.num_gpus)
    print(mox.get_flag("num_gpus"), len(mox.get_flag(flag_name="worker_hosts").split(",")))


if __name__ == "__main__":
    tf.app.run(main=main)
"""


def run(tmp_path, *args: str, script: str = SCRIPT) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "script.py"
    path.write_text(script)
    return subprocess.run(
        [sys.executable, str(path), *args],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
    )


def test_tf_flags_and_tf_app_run_beside_mox(tmp_path):
    result = run(tmp_path, "--data_url=here", "--num_gpus=2", "--worker_hosts", "a:1,b:1")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["here 32 2", "2 2"]


def test_tf_flags_read_without_app_run(tmp_path):
    direct = SCRIPT.replace("tf.app.run(main=main)", "main()")
    result = run(tmp_path, "--num_gpus=2", "--data_url=here", script=direct)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["here 32 2", "2 1"]
    result = run(tmp_path, "--num_gpus=2", "--data_ulr=here", script=direct)
    assert result.returncode == 1
    assert "Unknown command line flag 'data_ulr'. Did you mean: data_url ?" in result.stderr
