from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

# Each distribution has an environment of its own; this one may be without PyTorch.
if importlib.util.find_spec("torch") is None:
    collect_ignore_glob = ["test_*.py"]

sys.path.insert(0, str(Path(__file__).parent))  # for torch_problem
