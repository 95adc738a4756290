"""Where the modules of MoXing and of TensorFlow 1 are today."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["CONTRIB", "LEGACY_KERAS", "MODULES", "UNKNOWN"]

MODULES: Mapping[str, str] = {
    "moxing": "mox_core",
    "moxing.framework": "mox_core",
    "moxing.framework.file": "mox_core.file",
    "moxing.framework.file.file_io": "mox_core.file",
    "moxing.mxnet": "mox_mxnet",
    "moxing.pytorch": "mox_torch",
    "moxing.pytorch.dist": "mox_torch.dist",
    "moxing.pytorch.executor": "mox_torch",
    "moxing.pytorch.executor.enumerate": "mox_torch",
    "moxing.pytorch.tools.AverageMeter": "mox_torch.average_meter",
    "moxing.pytorch.utils.hyper_param_flags": "mox_torch",
    "moxing.tensorflow": "mox_tf",
    "moxing.tensorflow.datasets": "mox_tf.datasets",
    "moxing.tensorflow.datasets.raw": "mox_tf.datasets.raw",
    "moxing.tensorflow.datasets.raw.raw_dataset": "mox_tf.datasets.raw.raw_dataset",
    "moxing.tensorflow.datasets.tfrecord_common": "mox_tf.datasets.tfrecord_common",
    "moxing.tensorflow.executor": "mox_tf",
    "moxing.tensorflow.executor.hooks": "mox_tf",
    "moxing.tensorflow.executor.ops_adapter": "mox_tf.executor.ops_adapter",
    "moxing.tensorflow.nets": "mox_tf",
    "moxing.tensorflow.optimizer": "mox_tf",
    "moxing.tensorflow.optimizer.learning_rate_scheduler": "mox_tf.learning_rate_scheduler",
    "moxing.tensorflow.preprocessing": "mox_tf",
    "moxing.tensorflow.utils.hyper_param_flags": "mox_tf",
    "moxing.tensorflow.utils.tf_util": "mox_tf.utils.tf_util",
    "tensorflow": "tensorflow.compat.v1",
    "tensorflow.contrib.framework": "tf_slim",
    "tensorflow.contrib.layers": "tf_slim.layers",
    "tensorflow.contrib.losses": "tf_slim.losses",
    "tensorflow.contrib.metrics": "tf_slim.metrics",
    "tensorflow.contrib.slim": "tf_slim",
    "tensorflow.contrib.slim.nets": "tf_slim.nets",
    "tensorflow.examples.tutorials.mnist.input_data": "mox_tf.mnist",
}
"""A module -> the one to import instead; names of the first are in the second."""

CONTRIB: Mapping[str, str] = {
    "framework": "tf_slim",
    "layers": "tf_slim.layers",
    "losses": "tf_slim.losses",
    "metrics": "tf_slim.metrics",
    "slim": "tf_slim",
}
"""A part of tf.contrib -> the module of the package tf_slim that has it."""

LEGACY_KERAS = ("tf.layers", "tf.keras", "tf.nn.rnn_cell")
"""What needs Keras 2."""

UNKNOWN: Mapping[str, str] = {
    "keras": "Keras 2 is the package tf_keras today: import tf_keras as keras.",
    "moxing.framework.util.compat": "Use tf.compat, or str.encode and bytes.decode.",
    "moxing.framework.util.runtime": "mox leaves the root logger alone: no need to reset it.",
    "tensorflow.contrib": "There is no tf.contrib: see docs/migrate.md, or `mox run --tf1`.",
    "tensorflow.examples": "There is no tensorflow.examples.",
    "moxing": "docs/migrate.md lists what mox offers.",
}
"""What `mox migrate` leaves as it is -> what to tell the user."""
