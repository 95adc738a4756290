from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

# Each distribution has an environment of its own; this one may be without PyTorch.
if importlib.util.find_spec("torch") is None:
    collect_ignore_glob = ["test_*.py"]

sys.path.insert(0, str(Path(__file__).parent))  # for torch_problem


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Small tensors gain nothing from threads, and machines that run tests are often busy."""
    import torch

    torch.set_num_threads(1)
