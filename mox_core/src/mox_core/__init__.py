"""mox: a plugin framework for training models.

    import mox_core as mox

    mox.run(input_fn=..., model_fn=..., optimizer_fn=..., run_mode=mox.ModeKeys.TRAIN)

The engine is chosen with `--engine`; `import mox_tf as mox` (or another engine's package) fixes it.
Names are loaded when they are first used; importing this package loads no framework.
"""

from __future__ import annotations

from mox_core._lazy import lazy_names
from mox_core.flags import install as _install_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mox_core import errors as errors
    from mox_core import file as file
    from mox_core import nn as nn
    from mox_core.data import AsyncRawGenerator as AsyncRawGenerator
    from mox_core.data import ImageClassificationRawDataset as ImageClassificationRawDataset
    from mox_core.data import ImageClassificationRawMetadata as ImageClassificationRawMetadata
    from mox_core.data import (
        ImageClassificationTFRecordDataset as ImageClassificationTFRecordDataset,
    )
    from mox_core.data import (
        ImageClassificationTFRecordMetadata as ImageClassificationTFRecordMetadata,
    )
    from mox_core.data import (
        MultilabelClassificationRawDataset as MultilabelClassificationRawDataset,
    )
    from mox_core.data import (
        MultilabelClassificationRawMetadata as MultilabelClassificationRawMetadata,
    )
    from mox_core.data import get_dataset as get_dataset
    from mox_core.data import get_dataset_meta as get_dataset_meta
    from mox_core.engine import Engine as Engine
    from mox_core.errors import MoxError as MoxError
    from mox_core.flags import get_flag as get_flag
    from mox_core.flags import set_flag as set_flag
    from mox_core.hooks import EarlyStoppingHook as EarlyStoppingHook
    from mox_core.hooks import LogEvaluationMetricHook as LogEvaluationMetricHook
    from mox_core.hooks import RunHook as RunHook
    from mox_core.nets import NetworkKeys as NetworkKeys
    from mox_core.nets import get_model_fn as get_model_fn
    from mox_core.nets import get_model_meta as get_model_meta
    from mox_core.nn import get_collection as get_collection
    from mox_core.optim.spec import get_optimizer_fn as get_optimizer_fn
    from mox_core.plugins import hookimpl as hookimpl
    from mox_core.preprocessing import PreprocessingKeys as PreprocessingKeys
    from mox_core.preprocessing import get_data_augmentation_fn as get_data_augmentation_fn
    from mox_core.running import RunResult as RunResult
    from mox_core.running import RunState as RunState
    from mox_core.running import run as run
    from mox_core.spec import ExportKeys as ExportKeys
    from mox_core.spec import ExportSpec as ExportSpec
    from mox_core.spec import ModeKeys as ModeKeys
    from mox_core.spec import ModelSpec as ModelSpec

__version__ = "0.1.0"

_PUBLIC = {
    "AsyncRawGenerator": "mox_core.data",
    "EarlyStoppingHook": "mox_core.hooks",
    "Engine": "mox_core.engine",
    "ExportKeys": "mox_core.spec",
    "ExportSpec": "mox_core.spec",
    "ImageClassificationRawDataset": "mox_core.data",
    "ImageClassificationRawMetadata": "mox_core.data",
    "ImageClassificationTFRecordDataset": "mox_core.data",
    "ImageClassificationTFRecordMetadata": "mox_core.data",
    "LogEvaluationMetricHook": "mox_core.hooks",
    "ModeKeys": "mox_core.spec",
    "ModelSpec": "mox_core.spec",
    "MoxError": "mox_core.errors",
    "MultilabelClassificationRawDataset": "mox_core.data",
    "MultilabelClassificationRawMetadata": "mox_core.data",
    "NetworkKeys": "mox_core.nets",
    "PreprocessingKeys": "mox_core.preprocessing.keys",
    "RunHook": "mox_core.hooks",
    "RunResult": "mox_core.running",
    "RunState": "mox_core.running",
    "errors": "mox_core",
    "file": "mox_core",
    "get_collection": "mox_core.nn",
    "get_data_augmentation_fn": "mox_core.preprocessing",
    "get_dataset": "mox_core.data",
    "get_dataset_meta": "mox_core.data",
    "get_flag": "mox_core.flags",
    "get_model_fn": "mox_core.nets",
    "get_model_meta": "mox_core.nets",
    "get_optimizer_fn": "mox_core.optim.spec",
    "hookimpl": "mox_core.plugins",
    "nn": "mox_core",
    "run": "mox_core.running",
    "set_flag": "mox_core.flags",
}

__all__ = ["__version__", *_PUBLIC]

__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)

_install_flags()
