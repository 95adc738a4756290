"""Files of weights that belong to no engine: name -> array in the safetensors format."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any

from mox_core.errors import CheckpointError

__all__ = ["SUFFIX", "read_arrays", "write_arrays"]

SUFFIX = ".safetensors"


def read_arrays(path: str) -> dict[str, Any]:
    """Reads name -> NumPy array.

    Raises:
        CheckpointError: there is no such file, it is damaged, or the library is not installed.
    """
    library = _library()
    if not os.path.isfile(path):
        raise CheckpointError(f"{path} does not exist.\n  Check the path.")
    try:
        arrays: dict[str, Any] = library.load_file(path)
    except Exception as error:  # SafetensorError, and what NumPy says of dtypes that it lacks
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    return arrays


def write_arrays(path: str, arrays: Mapping[str, Any]) -> None:
    """Writes name -> NumPy array; the file appears when it is complete.

    Raises:
        CheckpointError: it cannot be written, or the library is not installed.
    """
    import numpy as np

    library = _library()
    partial = f"{path}.writing-{os.getpid()}"
    try:
        open(partial, "wb").close()
        mode = os.stat(partial).st_mode
        library.save_file(
            {name: np.asarray(array, order="C") for name, array in arrays.items()}, partial
        )
        with contextlib.suppress(OSError):  # the library lets nobody else read its files
            os.chmod(partial, mode)
        os.replace(partial, path)
    except Exception as error:  # OSError, SafetensorError
        raise CheckpointError(f"{path} cannot be written: {error}") from error
    finally:
        if os.path.exists(partial):
            os.remove(partial)


def _library() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise CheckpointError(
            "safetensors files need a library that is not installed.\n"
            "  Install it with:  pip install mox-core[safetensors]"
        ) from error
    return safetensors.numpy
