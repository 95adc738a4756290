"""--profile_steps and --xla."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tensorflow")

from mox_core.errors import EngineError

SCRIPT = Path(__file__).with_name("xla_script.py")
train = runpy.run_path(str(SCRIPT))["train"]


def traced(folder):
    """Step -> names of the operations in its trace."""
    traces = {}
    for path in folder.glob("*.json"):
        events = json.loads(path.read_text())["traceEvents"]
        traces[int(path.stem.removeprefix("step-"))] = {
            event["args"]["name"] for event in events if event["ph"] == "X"
        }
    return traces


@pytest.mark.parametrize(("flag", "steps"), [("0,1", {0, 1}), ("3, 4", {3, 4}), ("5", {5})])
def test_the_steps_asked_for_are_traced(tmp_path, monkeypatch, flag, steps):
    monkeypatch.setenv("MOX_PROFILE_STEPS", flag)
    train(tmp_path)
    traces = traced(tmp_path / "profile")
    assert set(traces) == steps
    for names in traces.values():
        assert any(name.startswith("my_layer/") for name in names)
        assert any("GradientDescent" in name for name in names)


def test_a_resumed_run_traces_what_is_left(tmp_path, monkeypatch):
    train(tmp_path, steps=3)
    monkeypatch.setenv("MOX_PROFILE_STEPS", "2,3")
    train(tmp_path, steps=6)
    assert set(traced(tmp_path / "profile")) == {3}


def test_a_run_that_ends_before_the_steps_says_so(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MOX_PROFILE_STEPS", "6")
    train(tmp_path, steps=6)
    assert "the run ended before step 6" in caplog.text
    assert not (tmp_path / "profile").exists()


@pytest.mark.parametrize("flag", ["1,2,3", "5,4", "first"])
def test_a_range_that_is_none_is_refused(tmp_path, monkeypatch, flag):
    monkeypatch.setenv("MOX_PROFILE_STEPS", flag)
    with pytest.raises(EngineError, match="first and the last step, such as"):
        train(tmp_path)


def test_traces_need_a_log_dir(monkeypatch):
    monkeypatch.setenv("MOX_PROFILE_STEPS", "1")
    with pytest.raises(EngineError, match="--profile_steps needs log_dir"):
        train(None)


def test_xla_compiles_the_step(tmp_path):
    """In a process of its own: XLA reads its switch once."""
    command = [sys.executable, SCRIPT, tmp_path, "--xla", "true", "--profile_steps", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    (names,) = traced(tmp_path / "profile").values()
    assert [name for name in names if name.endswith("/xla_run")]
    loss = train(None).metrics["loss"]
    assert float(done.stdout) == pytest.approx(loss, rel=1e-5)
