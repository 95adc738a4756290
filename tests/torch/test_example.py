"""The example for PyTorch, run as a newcomer runs it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import torch

SCRIPT = Path(__file__).parents[2] / "examples" / "train_mnist_torch.py"


def test_it_trains_evaluates_after_the_epoch_and_exports(tmp_path):
    command = [sys.executable, SCRIPT, "--log_dir", tmp_path, "--num_epochs", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    evaluated = re.findall(r"METRICS\] step: (\d+) loss: \S+ accuracy: (\S+)", done.stderr)
    assert [step for step, _ in evaluated] == ["28", "57"]
    assert float(evaluated[-1][1]) > 0.7
    (weights,) = tmp_path.glob("model.ckpt-58.safetensors")
    assert weights.stat().st_mode == (tmp_path / "metrics.jsonl").stat().st_mode
    model = torch.export.load(tmp_path / "1" / "model.pt2").module()
    assert model(torch.zeros(3, 784))["prediction"].shape == (3,)
