"""`mox file`: list, copy, move, remove, print and measure files of any store."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from mox_core.cli.output import human_size, print_error

if TYPE_CHECKING:
    from mox_core.storage.driver import ObjectInfo
    from mox_core.storage.urls import Location

__all__ = ["main"]

CHUNK = 1 << 20


def main(args: Sequence[str]) -> int:
    """Runs `mox file`.

    Args:
        args: What follows `file` on the command line.

    Returns:
        0, or 1 when a file cannot be read, written or found.
    """
    options = _parser().parse_args(args)
    try:
        command: Callable[[argparse.Namespace], int] = options.command
        return command(options)
    except BrokenPipeError:
        raise
    except OSError as error:
        from mox_core.errors import MoxError

        if isinstance(error, MoxError):
            raise
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print_error(reason)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mox file",
        description="Works on files of any store: local paths, s3://, obs://, memory:// and more.",
    )
    commands = parser.add_subparsers(title="commands", metavar="<command>", required=True)

    def add(
        name: str, run: Callable[[argparse.Namespace], int], summary: str, *paths: str
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name, help=summary, description=f"{summary[0].upper()}{summary[1:]}."
        )
        for path in paths:
            command.add_argument(path.rstrip("+"), nargs="+" if path.endswith("+") else None)
        if name != "cat":
            command.add_argument("--json", action="store_true", help="print JSON")
        command.set_defaults(command=run)
        return command

    ls = add("ls", _ls, "list a directory", "url")
    ls.add_argument("-l", "--long", action="store_true", help="with size and time")
    ls.add_argument("-r", "--recursive", action="store_true", help="all levels")
    cp = add("cp", _cp, "copy a file, or a directory with -r; - is standard input or output",
             "source", "target")  # fmt: skip
    cp.add_argument("-r", "--recursive", action="store_true", help="copy a directory's content")
    mv = add("mv", _mv, "move a file or a directory", "source", "target")
    rm = add("rm", _rm, "remove files, or directories with -r", "url+")
    rm.add_argument("-r", "--recursive", action="store_true", help="remove directories too")
    add("cat", _cat, "print files", "url+")
    add("stat", _stat, "describe a file or a directory", "url")
    add("du", _du, "add up the files in a directory", "url")
    sync = add("sync", _sync, "copy what is missing, older or of another size", "source", "target")
    sync.add_argument(
        "--delete", action="store_true", help="remove from the target what the source lacks"
    )
    add("glob", _glob, "list what matches a pattern (quote it)", "url")
    for command in (cp, mv, sync):
        command.add_argument(
            "--threads", type=_count, default=16, help="files at a time (default: 16)"
        )
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return int(text)


def _locate(url: str) -> Location:
    from mox_core.storage.urls import locate

    return locate(url)


def _time(mtime_ns: int) -> str:
    if not mtime_ns:
        return "-"
    return datetime.fromtimestamp(mtime_ns / 1e9, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _print_json(rows: Iterable[dict[str, Any]]) -> None:
    """Prints a list, row by row: listings may be long."""
    out = sys.stdout
    out.write("[")
    for number, row in enumerate(rows):
        out.write((",\n " if number else "") + json.dumps(row, ensure_ascii=False))
    out.write("]\n")


def _row(location: Location, info: ObjectInfo) -> dict[str, Any]:
    return {
        "url": location.prefix + info.path,
        "type": "directory" if info.is_dir else "file",
        "size": info.size,
        "modified": _time(info.mtime_ns) if info.mtime_ns else None,
    }


def _ls(options: argparse.Namespace) -> int:
    from mox_core.storage import tree

    location = _locate(options.url)
    folder = location.directory
    infos: Iterable[ObjectInfo]
    try:
        if options.recursive:
            infos = _below(location)
        else:
            infos = sorted(tree.existing_children(location))
    except NotADirectoryError:
        infos = [location.driver.retry.call(location.driver.stat, location.path)]
        folder = location.path.rpartition("/")[0] + "/" if "/" in location.path else ""
    if options.json:
        _print_json(_row(location, info) for info in infos)
        return 0
    for info in infos:
        name = info.path[len(folder) :]
        if options.long:
            size = "" if info.is_dir else human_size(info.size)
            print(f"{size:>10}  {_time(info.mtime_ns):<20}  {name}")
        else:
            print(name)
    return 0


def _below(location: Location) -> Iterable[ObjectInfo]:
    from mox_core.storage import tree

    next(iter(tree.existing_children(location)), None)  # raises when there is no such directory
    pages = location.driver.list(location.directory, recursive=True)
    return (info for page in pages for info in page if info.path != location.directory)


def _cp(options: argparse.Namespace) -> int:
    from mox_core import file
    from mox_core.storage import moving

    if options.source == "-" or options.target == "-":
        return _pipe(options.source, options.target)
    source, target = _locate(options.source), _locate(options.target)
    folder = file.is_directory(options.source)
    if folder and not options.recursive:
        print_error(f"{options.source} is a directory.\n  Copy its content with -r.")
        return 1
    with _Report(options, "copied") as report:
        report.expect(source if folder else None, options.source)
        if folder:
            moving.copy_directory(source, target, threads=options.threads, progress=report)
        else:
            moving.copy_file(source, target, progress=report)
    return 0


def _pipe(source: str, target: str) -> int:
    from mox_core import file

    if source != "-":
        with file.File(source, "rb") as stream:
            shutil.copyfileobj(stream, sys.stdout.buffer, CHUNK)
        sys.stdout.buffer.flush()
    elif target == "-":
        shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer, CHUNK)
    else:
        with file.File(target, "wb") as stream:
            shutil.copyfileobj(sys.stdin.buffer, stream, CHUNK)
    return 0


def _mv(options: argparse.Namespace) -> int:
    from mox_core.storage import moving, tree

    source, target = _locate(options.source), _locate(options.target)
    if tree.is_file(source):
        target = moving.file_target(source, target)
    moving.rename(source, target)
    if options.json:
        print(json.dumps({"source": source.url, "target": target.url}))
    else:
        print(f"moved {source.url} to {target.url}")
    return 0


def _rm(options: argparse.Namespace) -> int:
    from mox_core import file
    from mox_core.storage import removing, tree

    count = 0

    def done(number: int) -> None:
        nonlocal count
        count += number

    for url in options.url:
        location = _locate(url)
        if not options.recursive and not tree.is_file(location):
            if file.is_directory(url):
                print_error(f"{url} is a directory.\n  Remove it and all in it with -r.")
            else:
                print_error(f"there is no file {url}")
            return 1
        if options.recursive and not file.exists(url):
            print_error(f"there is no file or directory {url}")
            return 1
        removing.remove(location, recursive=options.recursive, done=done)
    print(json.dumps({"removed": count}) if options.json else f"removed {_files(count)}")
    return 0


def _cat(options: argparse.Namespace) -> int:
    for url in options.url:
        _pipe(url, "-")
    return 0


def _stat(options: argparse.Namespace) -> int:
    from mox_core import file

    found = file.stat(options.url)
    row = {
        "url": options.url,
        "type": "directory" if found.is_directory else "file",
        "size": found.length,
        "modified": _time(found.mtime_nsec) if found.mtime_nsec else None,
    }
    if options.json:
        print(json.dumps(row, ensure_ascii=False))
        return 0
    print(options.url)
    print(f"  type      {row['type']}")
    print(f"  size      {found.length} bytes ({human_size(found.length)})")
    print(f"  modified  {_time(found.mtime_nsec)}")
    return 0


def _du(options: argparse.Namespace) -> int:
    from mox_core import file

    found = file.stat(options.url)
    files, size = (1, found.length)
    if found.is_directory:
        files, size = _measure(_locate(options.url))
    if options.json:
        print(json.dumps({"url": options.url, "files": files, "size": size}))
    else:
        print(f"{human_size(size)} in {_files(files)}  {options.url}")
    return 0


def _measure(location: Location) -> tuple[int, int]:
    files = size = 0
    for page in location.driver.list(location.directory, recursive=True):
        for info in page:
            if not info.is_dir:
                files += 1
                size += info.size
    return files, size


def _sync(options: argparse.Namespace) -> int:
    from mox_core.storage import moving

    source, target = _locate(options.source), _locate(options.target)
    with _Report(options, "copied") as report:
        _, report.removed = moving.sync(
            source, target, delete=options.delete, threads=options.threads, progress=report
        )
    return 0


def _glob(options: argparse.Namespace) -> int:
    from mox_core import file

    found = file.glob(options.url)
    if options.json:
        print(json.dumps(found, ensure_ascii=False, indent=1))
    else:
        for url in found:
            print(url)
    return 0


def _files(count: int) -> str:
    return f"{count:,} file{'' if count == 1 else 's'}"


class _Report:
    """Counts what a copy does: a bar on a terminal, a line at the end.

    Args:
        options: `json` prints the line as JSON.
        verb: what was done.
    """

    def __init__(self, options: argparse.Namespace, verb: str) -> None:
        self._json = options.json
        self._verb = verb
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._files = 0
        self._bytes = 0
        self._bar: Any = None
        self.removed: int | None = None

    def expect(self, folder: Location | None, url: str) -> None:
        """Learns how much is to come, when there is a terminal to show it on."""
        if not sys.stderr.isatty() or os.environ.get("MOX_SILENT_MODE") == "1":
            return
        from tqdm import tqdm

        from mox_core import file

        size = file.stat(url).length if folder is None else _measure(folder)[1]
        self._bar = tqdm(total=size, unit="B", unit_scale=True, unit_divisor=1024, leave=False)

    def bytes(self, count: int) -> None:
        """So many bytes were copied."""
        with self._lock:
            self._bytes += count
            if self._bar is not None:
                self._bar.update(count)

    def file(self) -> None:
        """A file is complete."""
        with self._lock:
            self._files += 1
            if self._bar is not None:
                self._bar.set_postfix_str(_files(self._files), refresh=False)

    def __enter__(self) -> _Report:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self._bar is not None:
            self._bar.close()
        seconds = time.monotonic() - self._began
        if kind is not None and not (issubclass(kind, Exception) and self._files):
            return
        if self._json:
            row: dict[str, Any] = {"files": self._files, "bytes": self._bytes, "seconds": seconds}
            if self.removed is not None:
                row["removed"] = self.removed
            print(json.dumps(row))
            return
        rate = human_size(int(self._bytes / max(seconds, 1e-3)))
        line = f"{self._verb} {_files(self._files)}, {human_size(self._bytes)} ({rate}/s)"
        if self.removed:
            line += f", removed {_files(self.removed)}"
        print(line)
