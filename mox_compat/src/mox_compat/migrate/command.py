"""`mox migrate script.py [--write]`."""

from __future__ import annotations

import argparse
import difflib
import io
import os
import sys
import tempfile
import tokenize
from collections.abc import Iterable
from typing import Any

from mox_core.errors import MoxError

__all__ = ["register"]

_COLOURS = {"+++": "1", "---": "1", "@@": "36", "+": "32", "-": "31"}


class MigrateError(MoxError):
    """A script cannot be read, or is not Python 3."""


def register(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "migrate",
        help="turn a script written for MoXing into one written for mox",
        description="Shows the edits that turn scripts written for MoXing and TensorFlow 1 into "
        "scripts written for mox, and what is left to do by hand.",
    )
    parser.add_argument("scripts", nargs="+", metavar="script.py")
    parser.add_argument("--write", action="store_true", help="make the edits")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    # All are read before the first is written: an error leaves all as they were.
    read = [(path, *_read(path)) for path in options.scripts]
    migrated = [_migrate(path, source) for path, source, _ in read]
    for (path, source, encoding), migration in zip(read, migrated, strict=True):
        if migration.source == source:
            print(f"{path}: nothing to edit")
        elif options.write:
            _write(path, migration.source, encoding)
            print(f"{path}: {_edited_lines(source, migration.source)} lines edited")
        else:
            _show(_diff(path, source, migration.source))
        for line, text in migration.notes:
            print(f"{path}:{line}: {text}")
    return 0


def _read(path: str) -> tuple[str, str]:
    try:
        with open(path, "rb") as file:
            data = file.read()
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return data.decode(encoding), encoding
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MigrateError(f"cannot read {path}: {reason}.") from None


def _migrate(path: str, source: str) -> Any:
    from mox_compat.migrate.rewriting import migrate
    from mox_core.cli.explain import explain

    try:
        return migrate(source)
    except SyntaxError as error:
        error.filename = path
        text = explain(error) or f"{path}, line {error.lineno} is not Python: {error.msg}."
        raise MigrateError(text) from None


def _write(path: str, source: str, encoding: str) -> None:
    folder = os.path.dirname(os.path.realpath(path))
    with tempfile.NamedTemporaryFile("wb", dir=folder, delete=False) as file:
        try:
            file.write(source.encode(encoding))
            file.close()
            os.chmod(file.name, os.stat(path).st_mode)
            os.replace(file.name, os.path.realpath(path))
        except BaseException:
            os.unlink(file.name)
            raise


def _diff(path: str, old: str, new: str) -> Iterable[str]:
    return difflib.unified_diff(old.splitlines(), new.splitlines(), path, path, lineterm="")


def _edited_lines(old: str, new: str) -> int:
    return sum(line.startswith("+") and not line.startswith("+++") for line in _diff("", old, new))


def _show(lines: Iterable[str]) -> None:
    colourful = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for line in lines:
        mark = next((mark for mark in _COLOURS if line.startswith(mark)), None)
        print(f"\033[{_COLOURS[mark]}m{line}\033[0m" if colourful and mark else line)
