"""`python -m moxing train.py ...`: `mox run train.py ...` that shows TensorFlow 1 to the script."""

from __future__ import annotations

import os
import sys

from mox_core.cli import main

# The flag --tf1, which mox-tf defines; without mox-tf nobody asks for it.
os.environ.setdefault("MOX_TF1", "1")
sys.exit(main(["run", *sys.argv[1:]]))
