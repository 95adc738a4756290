"""The toy engine's checkpoints: all variables in one file, `<prefix>.npz`."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np

from mox_core.checkpoint import DamagedError
from mox_core.errors import CheckpointError
from mox_core.testing.toy_nn import Array

__all__ = ["checkpoint_file", "read_arrays", "write_arrays"]

_KEY = "variables/"  # any variable name is possible behind it, also those of np.savez's arguments


def checkpoint_file(prefix: str) -> str:
    """Returns the path of the file that belongs to a prefix."""
    return f"{prefix}.npz"


def write_arrays(prefix: str, arrays: Mapping[str, Array]) -> None:
    """Writes name -> array."""
    packed = io.BytesIO()  # on a full disk some versions of NumPy would leave their archive open
    np.savez(packed, **{_KEY + name: array for name, array in arrays.items()})  # type: ignore[arg-type]
    with open(checkpoint_file(prefix), "wb") as file:
        file.write(packed.getbuffer())


def read_arrays(prefix: str) -> dict[str, Array]:
    """Reads what `write_arrays` wrote.

    Raises:
        CheckpointError: there is no such file, or it is damaged.
    """
    path = checkpoint_file(prefix)
    if not os.path.isfile(path):
        raise CheckpointError(f"{path} does not exist.\n  Check the path of the checkpoint.")
    try:
        with np.load(path) as archive:
            return {name.removeprefix(_KEY): archive[name] for name in archive.files}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise DamagedError(prefix, f"{os.path.basename(path)}: {error}") from error
