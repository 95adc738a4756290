"""Checkpoint files: all variables in `<prefix>.safetensors`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from mox_core.checkpoint import DamagedError
from mox_core.errors import CheckpointError

__all__ = ["SUFFIX", "read_tensors", "write_tensors"]

SUFFIX = ".safetensors"
_EXTRA = "mox_torch"


def write_tensors(
    prefix: str, tensors: Mapping[str, torch.Tensor], extra: Mapping[str, Any]
) -> None:
    """Writes name -> tensor, and what is no tensor as JSON beside it."""
    contiguous = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    save_file(contiguous, prefix + SUFFIX, {_EXTRA: json.dumps(extra), "format": "pt"})


def read_tensors(prefix: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Reads what `write_tensors` wrote, or another safetensors file.

    Returns:
        Name -> tensor on the CPU, and the rest.

    Raises:
        CheckpointError: there is no such file, or it is damaged.
    """
    path = prefix + SUFFIX
    if not os.path.isfile(path):
        raise CheckpointError(
            f"{path} does not exist, so {prefix} is no checkpoint of engine 'torch'.\n"
            "  Check the path; `mox checkpoint convert` makes one of another engine's."
        )
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            extra = json.loads((file.metadata() or {}).get(_EXTRA, "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedError(prefix, f"{os.path.basename(path)}: {error}") from error
    return tensors, extra
