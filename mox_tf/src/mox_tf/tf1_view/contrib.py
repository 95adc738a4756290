"""Where the pieces of `tf.contrib` are today."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ALIASES", "PIECES", "Piece", "find"]

_KERAS = "tf_keras.api._v1.keras"
_MNIST = "mox_tf.mnist"

ALIASES: Mapping[str, str] = {
    "tensorflow.contrib.slim": "tf_slim",
    "tensorflow.contrib.slim.python.slim": "tf_slim",
    "tensorflow.contrib.layers.python.layers": "tf_slim.layers",
    "tensorflow.contrib.framework.python.ops.arg_scope": "tf_slim.ops.arg_scope",
    "tensorflow.contrib.framework.python.ops.variables": "tf_slim.ops.variables",
    "tensorflow.contrib.keras": _KERAS,
    "tensorflow.contrib.keras.api.keras": _KERAS,
    "tensorflow.contrib.keras.python.keras": _KERAS,
    "tensorflow.contrib.tensorboard.plugins.projector": "tensorboard.plugins.projector",
    "tensorflow.examples.tutorials.mnist.input_data": _MNIST,
    "tensorflow.contrib.learn.python.learn.datasets.mnist": _MNIST,
    # TensorFlow looks for these, which tf_keras has moved.
    "tf_keras.legacy_tf_layers": "tf_keras.src.legacy_tf_layers",
}
"""Modules that are other modules today, with all below them."""


@dataclass(frozen=True)
class Piece:
    """A namespace.

    Args:
        doc: its docstring.
        sources: modules in which its names are looked up; `v1` is `tensorflow.compat.v1`.
        names: name -> `module:attribute`, for those that are called otherwise today.
    """

    doc: str
    sources: Sequence[str] = ()
    names: Mapping[str, str] = field(default_factory=dict)


_LOOKUP = "tensorflow.python.ops.lookup_ops"
_FUNCTIONS = "mox_tf.tf1_view.contrib_functions"

_NAMESPACES: Mapping[str, Piece] = {
    f"tensorflow.{name}": piece
    for name, piece in {
        "contrib": Piece("What is left of tf.contrib."),
        "contrib.data": Piece(
            "Transformations of data sets.",
            ["v1.data.experimental"],
            {
                "batch_and_drop_remainder": f"{_FUNCTIONS}:batch_and_drop_remainder",
                "padded_batch_and_drop_remainder": f"{_FUNCTIONS}:padded_batch_and_drop_remainder",
                "Dataset": "v1.data:Dataset",
                "Iterator": "v1.data:Iterator",
                "TFRecordDataset": "v1.data:TFRecordDataset",
                "TextLineDataset": "v1.data:TextLineDataset",
                "FixedLengthRecordDataset": "v1.data:FixedLengthRecordDataset",
            },
        ),
        "contrib.distribute": Piece("Strategies.", ["v1.distribute", "v1.distribute.experimental"]),
        "contrib.framework": Piece(
            "Variables and arg_scope.",
            [
                "tf_slim.ops.variables",
                "tf_slim.ops.arg_scope",
                "tf_slim.ops.framework_ops",
                "v1.train",
                "v1",
            ],
            {"nest": "v1:nest", "argsort": "v1:argsort", "sort": "v1:sort"},
        ),
        "contrib.framework.python.ops": Piece(
            "Variables and arg_scope.",
            ["tf_slim.ops.variables", "tf_slim.ops.arg_scope", "tf_slim.ops.framework_ops"],
        ),
        "contrib.layers": Piece("Layers, initializers, regularizers.", ["tf_slim.layers"]),
        "contrib.learn": Piece(
            "Modes and data sets; the estimators are gone.",
            [],
            {"ModeKeys": f"{_FUNCTIONS}:LearnModeKeys"},
        ),
        "contrib.learn.datasets": Piece(
            "MNIST.", [], {"load_dataset": f"{_FUNCTIONS}:load_dataset", "mnist": _MNIST}
        ),
        "contrib.lite": Piece("TensorFlow Lite.", ["v1.lite"]),
        "contrib.lookup": Piece(
            "Tables.",
            [_LOOKUP],
            {
                "HashTable": f"{_LOOKUP}:StaticHashTableV1",
                "index_to_string": f"{_FUNCTIONS}:index_to_string_table_from_tensor",
                "index_to_string_table_from_tensor": (
                    f"{_FUNCTIONS}:index_to_string_table_from_tensor"
                ),
                "index_table_from_tensor": f"{_FUNCTIONS}:index_table_from_tensor",
                "MutableHashTable": f"{_LOOKUP}:MutableHashTable",
            },
        ),
        "contrib.losses": Piece("Losses.", ["tf_slim.losses"]),
        "contrib.metrics": Piece("Metrics that stream.", ["tf_slim.metrics", "v1.metrics"]),
        "contrib.nccl": Piece("Sums over GPUs.", ["tensorflow.python.ops.nccl_ops"]),
        "contrib.rnn": Piece(
            "Recurrent cells.",
            ["v1.nn.rnn_cell", "v1.nn"],
            {"LSTMBlockCell": "v1.nn.rnn_cell:LSTMCell"},
        ),
        "contrib.saved_model": Piece("Exported models.", ["v1.saved_model"]),
        "contrib.staging": Piece(
            "Staging areas.",
            [],
            {"StagingArea": "tensorflow.python.ops.data_flow_ops:StagingArea"},
        ),
        "contrib.summary": Piece("Summaries.", ["v1.summary"]),
        "contrib.training": Piece(
            "Training loops, and hyper-parameters.",
            ["tf_slim.training.training", "tf_slim.training"],
            {"HParams": "mox_tf.tf1_view.hparams:HParams"},
        ),
        "contrib.util": Piece(
            "Tensor protos.",
            [],
            {
                "constant_value": "tensorflow.python.framework.tensor_util:constant_value",
                "make_tensor_proto": "v1:make_tensor_proto",
                "make_ndarray": "v1:make_ndarray",
            },
        ),
    }.items()
}


def _folders() -> dict[str, Piece]:
    """The packages above modules that are listed here."""
    names = set()
    for name in (*ALIASES, *_NAMESPACES):
        while name.count(".") > 1:
            name = name.rpartition(".")[0]
            names.add(name)
    return {name: Piece("A package.") for name in names if name.startswith("tensorflow.")}


PIECES: Mapping[str, Piece] = {
    **{name: piece for name, piece in _folders().items() if name not in ALIASES},
    **_NAMESPACES,
}
"""Namespaces by the names of their modules."""


def find(piece: Piece, name: str) -> Any:
    """Returns what a name of a piece stands for, None where it is gone.

    Raises:
        ModuleNotFoundError: it is in a package that is not installed.
    """
    if name in piece.names:
        module, _, attribute = piece.names[name].partition(":")
        return getattr(_module(module), attribute) if attribute else _module(module)
    missing: ModuleNotFoundError | None = None
    for source in piece.sources:
        try:
            value = getattr(_module(source), name, None)
        except ModuleNotFoundError as error:
            missing = error
            continue
        if value is not None:
            return value
    if missing is not None:
        raise missing
    return None


def _module(name: str) -> Any:
    if name != "v1" and not name.startswith("v1."):
        return importlib.import_module(name)
    from mox_tf.tf1 import tf

    module = tf
    for part in name.split(".")[1:]:
        module = getattr(module, part)
    return module
