"""mox with the MXNet engine fixed, for scripts that build with MXNet.

    import mox_mxnet as mox
    import mxnet as mx

    mox.run(input_fn=..., model_fn=..., optimizer_fn=..., run_mode=mox.ModeKeys.TRAIN)

Has all public names of mox_core besides its own. Names are loaded when they are first used;
importing this package does not import MXNet. It is to be imported before MXNet, which then works
beside a newer NumPy (`mox_mxnet.importing`).
"""

from __future__ import annotations

import mox_core
from mox_core._lazy import lazy_names
from mox_mxnet.importing import install

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mox_core import *  # noqa: F403
    from mox_mxnet.data import ImageClassificationRawDataset as ImageClassificationRawDataset
    from mox_mxnet.data import (
        ImageClassificationTFRecordDataset as ImageClassificationTFRecordDataset,
    )
    from mox_mxnet.data import (
        MultilabelClassificationRawDataset as MultilabelClassificationRawDataset,
    )
    from mox_mxnet.data import get_dataset as get_dataset
    from mox_mxnet.engine import MXNetEngine as MXNetEngine
    from mox_mxnet.running import run as run
    from mox_mxnet.store import block as block
    from mox_mxnet.store import get_variable as get_variable
    from mox_mxnet.store import parameters as parameters
    from mox_mxnet.store import var_scope as var_scope

_OWN = {
    "ImageClassificationRawDataset": "mox_mxnet.data",
    "ImageClassificationTFRecordDataset": "mox_mxnet.data",
    "MXNetEngine": "mox_mxnet.engine",
    "MultilabelClassificationRawDataset": "mox_mxnet.data",
    "block": "mox_mxnet.store",
    "get_dataset": "mox_mxnet.data",
    "get_variable": "mox_mxnet.store",
    "parameters": "mox_mxnet.store",
    "run": "mox_mxnet.running",
    "var_scope": "mox_mxnet.store",
}

__all__ = sorted({*mox_core.__all__, *_OWN})

__getattr__, __dir__ = lazy_names(__name__, _OWN, base="mox_core")

install()
