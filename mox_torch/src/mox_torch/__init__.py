"""mox with the PyTorch engine fixed, for scripts that build with PyTorch.

    import torch
    import mox_torch as mox

    mox.run(input_fn=..., model_fn=..., optimizer_fn=..., run_mode=mox.ModeKeys.TRAIN)

Has all public names of mox_core besides its own. Names are loaded when they are first used;
importing this package does not import PyTorch.
"""

from __future__ import annotations

import mox_core
from mox_core._lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mox_core import *  # noqa: F403
    from mox_torch import dist as dist
    from mox_torch import learning_rate_scheduler as learning_rate_scheduler
    from mox_torch.average_meter import AverageMeter as AverageMeter
    from mox_torch.data import ImageClassificationRawDataset as ImageClassificationRawDataset
    from mox_torch.data import (
        ImageClassificationTFRecordDataset as ImageClassificationTFRecordDataset,
    )
    from mox_torch.data import (
        MultilabelClassificationRawDataset as MultilabelClassificationRawDataset,
    )
    from mox_torch.data import get_dataset as get_dataset
    from mox_torch.engine import TorchEngine as TorchEngine
    from mox_torch.networks import get_collection as get_collection
    from mox_torch.networks import get_model_fn as get_model_fn
    from mox_torch.running import run as run
    from mox_torch.store import get_variable as get_variable
    from mox_torch.store import module as module
    from mox_torch.store import parameters as parameters
    from mox_torch.store import var_scope as var_scope

_OWN = {
    "AverageMeter": "mox_torch.average_meter",
    "ImageClassificationRawDataset": "mox_torch.data",
    "ImageClassificationTFRecordDataset": "mox_torch.data",
    "MultilabelClassificationRawDataset": "mox_torch.data",
    "TorchEngine": "mox_torch.engine",
    "dist": "mox_torch",
    "get_collection": "mox_torch.networks",
    "get_dataset": "mox_torch.data",
    "get_model_fn": "mox_torch.networks",
    "get_variable": "mox_torch.store",
    "learning_rate_scheduler": "mox_torch",
    "module": "mox_torch.store",
    "parameters": "mox_torch.store",
    "run": "mox_torch.running",
    "var_scope": "mox_torch.store",
}

__all__ = sorted({*mox_core.__all__, *_OWN})

__getattr__, __dir__ = lazy_names(__name__, _OWN, base="mox_core")
