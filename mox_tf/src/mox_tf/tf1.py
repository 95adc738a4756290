"""The one module that imports TensorFlow; all others take it from here.

Everything that is not TensorFlow's public API is behind a function of this module.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mox_core.errors import EngineError
from mox_tf.graph_mode import quieten_tensorflow, use_graph_mode

quieten_tensorflow()

# After its log level is set. It has no type information that mypy could use.
import tensorflow  # type: ignore[import-untyped, import-not-found, unused-ignore] # noqa: E402

use_graph_mode(tensorflow)
tf: Any = tensorflow.compat.v1
tf2: Any = tensorflow

as_it_is: Any = tf.autograph.experimental.do_not_convert
"""Decorates a function of a data set, which TensorFlow then does not rewrite: that takes long."""


__all__ = [
    "DATASET",
    "TENSORFLOW_FOLDER",
    "VARIABLE",
    "as_it_is",
    "check_version",
    "chrome_trace",
    "compile_on_cpu",
    "lookup_ops",
    "nccl_all_sum",
    "release",
    "replace_input",
    "restore_moved_names",
    "sample_box",
    "slice_of",
    "stateless_uniform",
    "tf",
    "tf2",
    "versions",
    "without_autotuning",
]

DATASET: Any = tensorflow.data.Dataset
"""The base of data sets of both API versions."""

VARIABLE: Any = tensorflow.Variable
"""The base of variables of all kinds; that of `compat.v1` leaves out resource variables."""

TENSORFLOW_FOLDER: str = os.path.dirname(os.path.abspath(tensorflow.__file__)) + os.sep
"""Where TensorFlow's own source lines are."""


def versions() -> dict[str, str]:
    """Versions of TensorFlow and of what it stands on."""
    from importlib.metadata import version

    import numpy

    return {
        "tensorflow": tensorflow.__version__,
        "numpy": numpy.__version__,
        "protobuf": version("protobuf"),
    }


def release() -> tuple[int, int]:
    """Major and minor version of TensorFlow."""
    numbers = re.match(r"(\d+)\.(\d+)", tensorflow.__version__)
    assert numbers is not None, tensorflow.__version__
    return int(numbers[1]), int(numbers[2])


def check_version(logger: logging.Logger) -> None:
    """Warns of a TensorFlow that mox-tf is not tested with.

    Raises:
        EngineError: it cannot work.
    """
    installed, number = versions(), release()
    if number < (2, 4):
        raise EngineError(
            f"TensorFlow {installed['tensorflow']} is too old for mox-tf.\n"
            "  Install one from 2.15 to 2.21, for example with:  pip install tensorflow==2.21.0"
        )
    if not (2, 15) <= number < (2, 22):
        logger.warning(
            "mox-tf is tested with TensorFlow 2.15 to 2.21; this is %s.", installed["tensorflow"]
        )
    if number == (2, 20) and int(installed["protobuf"].split(".")[0]) >= 7:
        logger.warning(
            "TensorFlow 2.20 cannot write text graphs with protobuf %s: hooks that do will fail. "
            "Install TensorFlow 2.21, or protobuf<7.",
            installed["protobuf"],
        )


def slice_of(variable: Any) -> Any:
    """The part of a partitioned variable that `variable` is; None for a whole one.

    It has `full_name`, `full_shape`, `var_offset` and `var_shape`.
    """
    return variable._get_save_slice_info()


def nccl_all_sum(tensors: Sequence[Any]) -> list[Any]:
    """The sum of tensors that lie on different GPUs, on each of these GPUs."""
    from tensorflow.python.ops import nccl_ops  # type: ignore[import-untyped, unused-ignore]

    sums: list[Any] = nccl_ops.all_sum(tensors)
    return sums


def replace_input(op: Any, index: int, tensor: Any) -> None:
    """Lets an operation that no session has run take another input."""
    op._update_input(index, tensor)


def chrome_trace(step_stats: Any) -> str:
    """The `StepStats` of a traced step in the format of chrome://tracing."""
    from tensorflow.python.client import timeline  # type: ignore[import-untyped, unused-ignore]

    trace: str = timeline.Timeline(step_stats).generate_chrome_trace_format()
    return trace


def restore_moved_names() -> None:
    """Puts classes back where code for TensorFlow 1, tf_slim's among it, looks for them."""
    from tensorflow.python.framework import (  # type: ignore[import-untyped, unused-ignore]
        indexed_slices,
        ops,
    )

    for name, value in {
        "IndexedSlices": indexed_slices.IndexedSlices,
        "Tensor": tensorflow.Tensor,
    }.items():
        if not hasattr(ops, name):
            setattr(ops, name, value)


def lookup_ops() -> Any:
    """Tables of strings and numbers, with functions that the public names of today leave out."""
    from tensorflow.python.ops import lookup_ops as module  # type: ignore[import-untyped, unused-ignore]

    return module


def compile_on_cpu() -> None:
    """Lets XLA's automatic clustering work on CPUs too; counts until the first session."""
    flags = os.environ.get("TF_XLA_FLAGS", "")
    if "tf_xla_cpu_global_jit" not in flags:
        os.environ["TF_XLA_FLAGS"] = f"{flags} --tf_xla_cpu_global_jit".strip()


def stateless_uniform(count: int, seed: Any) -> Any:
    """Float32 numbers from 0 to 1 that follow from a seed, int32 [2], alone."""
    return tensorflow.random.stateless_uniform([count], seed)


def sample_box(image_size: Any, boxes: Any, seed: Any, **limits: Any) -> tuple[Any, Any]:
    """A random box in an image, which follows from a seed, int32 [2]: begin and size."""
    begin, size, _ = tensorflow.image.stateless_sample_distorted_bounding_box(
        image_size, boxes, seed, use_image_if_no_bounding_boxes=True, **limits
    )
    return begin, size


@contextmanager
def without_autotuning() -> Iterator[None]:
    """Lets iterators that are made inside go without the thread that tunes their data sets.

    That thread misses, every few times, that its session is closed. Then `Session.close` waits
    until it looks again: after half the time of the run so far, a minute at most. What
    `tf.data.AUTOTUNE` stands for is as many as the CPU has cores, without it. Data sets whose
    options say how to autotune keep theirs.
    """
    original = DATASET._apply_debug_options  # called for every iterator of a graph

    def apply(dataset: Any) -> Any:
        dataset = original(dataset)
        with warnings.catch_warnings():  # that options may be given elsewhere, too
            warnings.simplefilter("ignore")
            chosen = dataset.options().autotune.enabled
        if chosen is not None:
            return dataset
        options = tensorflow.data.Options()
        options.autotune.enabled = False
        return dataset.with_options(options)

    DATASET._apply_debug_options = apply
    try:
        yield
    finally:
        DATASET._apply_debug_options = original
