"""Checkpoint files: all variables in `<prefix>.params`, as `mx.nd.save` writes them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from mox_core.checkpoint import DamagedError
from mox_core.errors import CheckpointError
from mox_mxnet.importing import load

__all__ = ["SUFFIX", "read_arrays", "write_arrays"]

mx = load()

SUFFIX = ".params"
_EXTRA = "mox:extra"
_SCALARS = "scalars"


def write_arrays(prefix: str, arrays: Mapping[str, Any]) -> None:
    """Writes name -> NumPy array."""
    extra = {_SCALARS: [name for name, array in arrays.items() if not array.shape]}
    saved = {
        name: mx.nd.array(array.reshape(array.shape or (1,)), ctx=mx.cpu(), dtype=array.dtype)
        for name, array in arrays.items()
    }
    text = np.frombuffer(json.dumps(extra).encode(), np.uint8)
    saved[_EXTRA] = mx.nd.array(text, ctx=mx.cpu(), dtype=np.uint8)
    mx.nd.save(prefix + SUFFIX, saved)


def read_arrays(prefix: str) -> dict[str, Any]:
    """Reads what `write_arrays` wrote, or another file of `mx.nd.save` with names.

    Returns:
        Name -> NumPy array; `arg:` and `aux:` before the names of exported parameters are left out.

    Raises:
        CheckpointError: there is no such file, or it is damaged.
    """
    path = prefix + SUFFIX
    if not os.path.isfile(path):
        raise CheckpointError(
            f"{path} does not exist, so {prefix} is no checkpoint of engine 'mxnet'.\n"
            "  Check the path; `mox checkpoint convert` makes one of another engine's."
        )
    try:
        loaded = mx.nd.load(path)
        if not isinstance(loaded, dict):
            raise ValueError("its arrays have no names")
        arrays = {_plain(name): array.asnumpy() for name, array in loaded.items()}
        extra = arrays.pop(_EXTRA, None)
        known = {} if extra is None else json.loads(extra.tobytes().decode())
        for name in known.get(_SCALARS, ()):
            arrays[name] = arrays[name].reshape(())
    except (mx.MXNetError, ValueError, KeyError, OSError) as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), "no data")
        raise DamagedError(prefix, f"{os.path.basename(path)}: {reason}") from error
    return arrays


def _plain(name: str) -> str:
    return name.removeprefix("arg:").removeprefix("aux:")
