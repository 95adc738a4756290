"""TensorFlow training into a bucket: killed on one machine, finished on another."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from mox_core.checkpoint import describe_checkpoint
from mox_core.storage import registry
from mox_core.storage.auth import Settings

pytest.importorskip("boto3")
sys.path.insert(0, str(Path(__file__).parents[1] / "storage"))

from servers.object_store import ACCESS_KEY, SECRET_KEY, ObjectStore  # noqa: E402

URL = "s3://bucket/digits"


@pytest.fixture
def store(new_user, monkeypatch):
    with ObjectStore() as running:
        access = {
            "ACCESS_KEY_ID": ACCESS_KEY,
            "SECRET_ACCESS_KEY": SECRET_KEY,
            "S3_ENDPOINT": f"http://127.0.0.1:{running.port}",
        }
        new_user.environment.update(access)
        for name, value in access.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(registry.DRIVERS, "_drivers", {})
        monkeypatch.setattr(registry.DRIVERS, "_settings", Settings())
        yield running


def test_a_fresh_machine_goes_on_after_a_kill(new_user, store, steps_logged):
    with new_user.start(new_user.scripts / "endless.py", URL) as process:
        process.wait_for(f"Saving checkpoints for 150 into {URL}/model.ckpt")
        process.send_signal(signal.SIGKILL)
    saved = describe_checkpoint(URL).step
    assert saved in (100, 125, 150), "at most one save behind, and one may have been under way"

    fresh = new_user.folder / "fresh"
    fresh.mkdir()
    new_user.environment["DLS_LOCAL_CACHE_PATH"] = str(fresh)
    end = saved + 50
    output = new_user.script("endless.py", URL, "--max_steps", end)
    assert f"Restoring parameters from {URL}/model.ckpt-{saved}" in output
    first = -(-saved // 10) * 10
    assert steps_logged(output) == list(range(first, end, 10))
    assert describe_checkpoint(URL).step == end
    assert list(fresh.iterdir()) == []
