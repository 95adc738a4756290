"""`mox checkpoint show`: what is in a checkpoint."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

from mox_core.cli.output import human_size, table

if TYPE_CHECKING:
    from mox_core.checkpoint import CheckpointInfo

__all__ = ["main"]


def main(args: Sequence[str]) -> int:
    """Runs `mox checkpoint`.

    Args:
        args: What follows `checkpoint` on the command line.

    Returns:
        0.

    Raises:
        CheckpointError: There is no checkpoint, or it is damaged.
    """
    parser = argparse.ArgumentParser(prog="mox checkpoint", description="Looks into checkpoints.")
    commands = parser.add_subparsers(title="commands", metavar="show", required=True)
    show = commands.add_parser(
        "show",
        help="print the variables of a checkpoint and its files",
        description="Prints the variables of a checkpoint and its files.",
    )
    show.add_argument("path", help="a log_dir, or a prefix such as log_dir/model.ckpt-1000")
    show.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(args)

    from mox_core.checkpoint import describe_checkpoint

    info = describe_checkpoint(options.path)
    print(json.dumps(asdict(info), indent=2) if options.json else "\n".join(_lines(info)))
    return 0


def _lines(info: CheckpointInfo) -> list[str]:
    lines = [info.path]
    if info.step is not None:
        lines.append(f"  step     {info.step}")
    if info.engine:
        written_by = f"{info.engine} (mox {info.mox_version})" if info.mox_version else info.engine
        lines.append(f"  engine   {written_by}")
    if info.time is not None:
        lines.append(f"  written  {datetime.fromtimestamp(info.time):%Y-%m-%d %H:%M:%S}")
    if info.variables is None:
        lines += ["", "The variables are not known: no installed engine can read this checkpoint."]
    else:
        counts = [math.prod(variable.shape) for variable in info.variables]
        rows = [
            [v.name, " x ".join(map(str, v.shape)) or "scalar", v.dtype, f"{count:,}"]
            for v, count in zip(info.variables, counts, strict=True)
        ]
        header = ("variable", "shape", "dtype", "parameters")
        lines += ["", *table(header, rows, right={"parameters"})]
        lines += ["", f"{len(counts):,} variables, {sum(counts):,} parameters"]
    files = [[name, human_size(size)] for name, size in info.files]
    lines += ["", *table(("file", "size"), files, right={"size"})]
    lines += ["", f"{len(files):,} files, {human_size(sum(size for _, size in info.files))}"]
    return lines
