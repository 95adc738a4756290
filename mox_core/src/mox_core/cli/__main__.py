"""`python -m mox_core.cli` is `mox`."""

from __future__ import annotations

import sys

from mox_core.cli import main

sys.exit(main())
