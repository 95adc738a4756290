"""mox with the TensorFlow engine fixed, for scripts that build with TensorFlow.

    import tensorflow.compat.v1 as tf
    import mox_tf as mox

    mox.run(input_fn=..., model_fn=..., optimizer_fn=..., run_mode=mox.ModeKeys.TRAIN)

Has all public names of mox_core besides its own. Names are loaded when they are first used;
importing this package does not import TensorFlow, but switches it to graph mode wherever the
script imports it, before or after.
"""

from __future__ import annotations

import mox_core
from mox_core._import_hooks import when_imported
from mox_core._lazy import lazy_names
from mox_tf.graph_mode import quieten_tensorflow, use_graph_mode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mox_core import *  # noqa: F403
    from mox_tf.datasets import ImageClassificationRawDataset as ImageClassificationRawDataset
    from mox_tf.datasets import (
        ImageClassificationTFRecordDataset as ImageClassificationTFRecordDataset,
    )
    from mox_tf.datasets import (
        MultilabelClassificationRawDataset as MultilabelClassificationRawDataset,
    )
    from mox_tf.datasets import get_dataset as get_dataset
    from mox_tf.datasets import get_tfrecord as get_tfrecord
    from mox_tf.engine import TensorFlowEngine as TensorFlowEngine
    from mox_tf.input_spec import InputSpec as InputSpec
    from mox_tf.native_hooks import AggregativeSessionRunHook as AggregativeSessionRunHook
    from mox_tf.native_hooks import FeedSessionRunHook as FeedSessionRunHook
    from mox_tf.networks import get_model_fn as get_model_fn
    from mox_tf.optimizer_wrappers import get_optimizer_wrapper_fn as get_optimizer_wrapper_fn
    from mox_tf.optimizers import get_optimizer_fn as get_optimizer_fn
    from mox_tf.preprocessing import get_data_augmentation_fn as get_data_augmentation_fn
    from mox_tf.running import run as run
    from mox_tf.scopes import get_collection as get_collection
    from mox_tf.scopes import var_scope as var_scope

_OWN = {
    "AggregativeSessionRunHook": "mox_tf.native_hooks",
    "FeedSessionRunHook": "mox_tf.native_hooks",
    "ImageClassificationRawDataset": "mox_tf.datasets",
    "ImageClassificationTFRecordDataset": "mox_tf.datasets",
    "InputSpec": "mox_tf.input_spec",
    "MultilabelClassificationRawDataset": "mox_tf.datasets",
    "TensorFlowEngine": "mox_tf.engine",
    "datasets": "mox_tf",
    "executor": "mox_tf",
    "get_collection": "mox_tf.scopes",
    "get_data_augmentation_fn": "mox_tf.preprocessing",
    "get_dataset": "mox_tf.datasets",
    "get_model_fn": "mox_tf.networks",
    "get_optimizer_fn": "mox_tf.optimizers",
    "get_optimizer_wrapper_fn": "mox_tf.optimizer_wrappers",
    "get_tfrecord": "mox_tf.datasets",
    "learning_rate_scheduler": "mox_tf",
    "preprocessing": "mox_tf",
    "run": "mox_tf.running",
    "utils": "mox_tf",
    "var_scope": "mox_tf.scopes",
}

__all__ = sorted({*mox_core.__all__, *_OWN})

__getattr__, __dir__ = lazy_names(__name__, _OWN, base="mox_core")

quieten_tensorflow()
when_imported("tensorflow", use_graph_mode)
