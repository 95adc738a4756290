from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

# Each distribution has an environment of its own; this one may be without MXNet.
if importlib.util.find_spec("mxnet") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    import mox_mxnet  # noqa: F401  # before MXNet, which needs its help to be imported

sys.path.insert(0, str(Path(__file__).parent))  # for mxnet_problem
