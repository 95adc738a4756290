"""`mox checkpoint`: what is in a checkpoint, and how it moves to another engine."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

from mox_core.cli.output import human_size, table
from mox_core.wording import counted

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
        MoxError: There is no checkpoint, it is damaged, or it cannot be converted.
    """
    parser = argparse.ArgumentParser(
        prog="mox checkpoint", description="Looks into checkpoints, and converts them."
    )
    commands = parser.add_subparsers(
        title="commands", metavar="{show,convert}", dest="command", required=True
    )
    show = commands.add_parser(
        "show",
        help="print the variables of a checkpoint and its files",
        description="Prints the variables of a checkpoint and its files.",
    )
    show.add_argument("path", help="a log_dir, or a prefix such as log_dir/model.ckpt-1000")
    show.add_argument("--json", action="store_true", help="print JSON")
    convert = commands.add_parser(
        "convert",
        help="write a checkpoint in the format of another engine",
        description="Writes the variables of a checkpoint, the optimizer's state and the global "
        "step in the format of another engine. A run of a script over mox.nn goes on from the "
        "result, a log_dir, as if that engine had written it.",
    )
    convert.add_argument(
        "source",
        metavar="IN",
        help="a log_dir, a prefix such as log_dir/model.ckpt-1000 or resnet_v1_50.ckpt, "
        "or a .safetensors file",
    )
    convert.add_argument("target", metavar="OUT", help="a new log_dir; for safetensors a new file")
    convert.add_argument(
        "--to", required=True, metavar="ENGINE", help="name of an installed engine, or safetensors"
    )
    options = parser.parse_args(args)
    if options.command == "convert":
        return _convert(options.source, options.target, options.to)

    from mox_core.checkpoint import describe_checkpoint

    info = describe_checkpoint(options.path)
    print(json.dumps(asdict(info), indent=2) if options.json else "\n".join(_lines(info)))
    return 0


def _convert(source: str, target: str, to: str) -> int:
    from mox_core.converting import convert_checkpoint

    done = convert_checkpoint(source, target, to=to)
    numbers = sum(math.prod(variable.shape) for variable in done.variables)
    print(done.path)
    print(f"  from     {done.source} ({done.engine})")
    print(f"  step     {'unknown' if done.step is None else done.step}")
    print(f"  holds    {counted(len(done.variables), 'variable')}, {counted(numbers, 'number')}")
    if done.left_out:
        some = ", ".join(done.left_out[:10]) + (", ..." if len(done.left_out) > 10 else "")
        print(f"  without  {len(done.left_out)} that hold no numbers: {some}")
    if done.neutral is False:
        print(
            f"  note     a script of engine {done.engine!r} itself made them: another engine finds "
            "only what has its names, shapes and layouts"
        )
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
        lines += ["", f"{counted(len(counts), 'variable')}, {counted(sum(counts), 'parameter')}"]
    files = [[name, human_size(size)] for name, size in info.files]
    lines += ["", *table(("file", "size"), files, right={"size"})]
    size = human_size(sum(size for _, size in info.files))
    lines += ["", f"{counted(len(files), 'file')}, {size}"]
    return lines
