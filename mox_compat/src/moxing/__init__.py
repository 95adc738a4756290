"""MoXing's names on mox: `import moxing as mox; mox.file.copy_parallel(...)`.

`moxing.tensorflow`, `moxing.pytorch` and `moxing.mxnet` need mox-tf, mox-torch and mox-mxnet.
Importing this package imports no training framework. See docs/migrate.md.
"""

from __future__ import annotations

from mox_compat import hint
from mox_compat.aside import step_aside
from mox_core import __version__
from mox_core._lazy import lazy_names

_PARTS = ("framework", "mxnet", "pytorch", "tensorflow")
__all__ = ["__version__", "file", *_PARTS]
__getattr__, __dir__ = lazy_names(
    __name__, {"file": "moxing.framework", **dict.fromkeys(_PARTS, __name__)}
)

step_aside()
hint.install()
