"""`mox_core.file` under MoXing's name: one module, whatever it is imported as."""

from __future__ import annotations

import sys

from mox_core import file

sys.modules[__name__] = file
sys.modules[f"{__name__}.file_io"] = file.file_io
