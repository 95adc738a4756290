"""Signals and restarts with real processes and the TensorFlow engine."""

from __future__ import annotations

import json
import re
import signal

import pytest

import mox_core.hooks.events as events
from mox_core.checkpoint import describe_checkpoint

FROM_SCRATCH = 2.3  # loss of ten equally likely digits


@pytest.fixture
def endless(new_user):
    """Function: starts a training run that does not end by itself."""
    script = new_user.scripts / "endless.py"
    return lambda *arguments: new_user.start(script, "log", *arguments)


def finish(process):
    with process:
        return process.communicate(timeout=240)[0]


def records(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_training_goes_on_after_a_kill(new_user, endless, steps_logged):
    log_dir = new_user.folder / "log"
    process = endless()
    process.wait_for("Saving checkpoints for 150 ")
    process.send_signal(signal.SIGKILL)
    finish(process)
    assert process.returncode == -signal.SIGKILL
    saved = describe_checkpoint(str(log_dir)).step
    assert saved >= 125 and saved % 25 == 0

    end = saved + 95
    output = finish(endless("--max_steps", end))
    assert f"Restoring parameters from log/model.ckpt-{saved}" in output
    assert f"Running will end at step: {end}" in output
    first = -(-saved // 10) * 10
    assert steps_logged(output) == list(range(first, end, 10))
    assert describe_checkpoint(str(log_dir)).step == end

    # Values go on where they were: each step once, falling loss, the schedule in between.
    lines = records(log_dir)
    assert [line["step"] for line in lines] == list(range(0, end, 10))
    assert all(line["loss"] < FROM_SCRATCH / 2 for line in lines if line["step"] >= first)
    schedule = {line["step"]: line["learning_rate"] for line in lines}
    assert schedule == pytest.approx(
        {s: min(0.5, 0.1 + 0.4 * s / 1400) for s in schedule}, rel=1e-4
    )

    # Two event files; TensorBoard drops from the first what the second does again.
    first_run, second_run = (
        [step for step, _, values in events.read_events(path) if "loss" in values]
        for path in sorted(log_dir.glob("events.out.*"), key=lambda path: path.stat().st_mtime)
    )
    assert first_run[:15] == list(range(0, 150, 10))
    assert second_run == list(range(first, end, 10))


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_save_and_exit(new_user, endless, sent, code):
    process = endless()
    logged = int(process.wait_for(r"step: (\d\d\d+)\(")[1])
    process.send_signal(sent)
    output = finish(process)
    assert process.returncode == code, output
    assert "Traceback" not in output
    saved = [int(step) for step in re.findall(r"Saving checkpoints for (\d+) into", output)]
    assert describe_checkpoint(str(new_user.folder / "log")).step == saved[-1] > logged


def test_a_second_ctrl_c_ends_a_run_whose_input_hangs(new_user, endless):
    process = endless("--stall_after", 40)
    process.wait_for("the input hangs")
    process.send_signal(signal.SIGINT)
    process.wait_for("Press Ctrl-C again")
    process.send_signal(signal.SIGINT)
    output = finish(process)
    assert process.returncode == 130, output
    assert "Stopped at once; the last complete checkpoint is intact" in output
    assert describe_checkpoint(str(new_user.folder / "log")).step == 25
