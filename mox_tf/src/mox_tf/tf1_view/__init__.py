"""TensorFlow 1, as an unmodified script expects it, on today's TensorFlow.

`install(script)` makes the script, and its own modules, see

- `tensorflow` as `tensorflow.compat.v1` with the behaviour of version 2 switched off,
- `tensorflow.contrib` with what is left of it: slim (the package tf_slim), layers, framework,
  lookup, data, rnn, training.HParams and some more,
- `tensorflow.examples.tutorials.mnist.input_data`, which reads MNIST's files,
- `keras`, `tensorflow.keras`, `tf.layers` and `tf.nn.rnn_cell` as Keras 2 (the package tf_keras),
- `sys.maxint`.

Installed packages go on seeing today's TensorFlow: the view depends on who imports, see
`own_code`. What TensorFlow 1 had and today's lacks raises an error that names the symbol, the
script's line and what to use instead, see `replaced`.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings

from mox_tf.tf1_view import importing, missing_modules
from mox_tf.tf1_view.own_code import OWN

__all__ = ["install"]


def install(script: str) -> None:
    """Shows TensorFlow 1 to a script that runs next, and to the modules that it brings along.

    Imports neither TensorFlow nor Keras: a script that uses none pays for none.

    Args:
        script: its path.
    """
    OWN.add_script(script)
    if importlib.util.find_spec("tf_keras") is not None:
        os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    if not hasattr(sys, "maxint"):
        sys.maxint = sys.maxsize  # type: ignore[attr-defined]
    # That the script is old, it was told when it was written.
    warnings.filterwarnings("ignore", message=r"`(tf\.(layers|nn)\.|layer\.|Model\.)")
    missing_modules.install()
    importing.install()
