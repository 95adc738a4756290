"""labels.txt: the names of the classes, in the two spellings that are in use."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping

from mox_core.data.listing import examples
from mox_core.errors import DataError
from mox_core.log import run_logger
from mox_core.storage import api as file

__all__ = ["check_labels", "format_labels", "log_labels", "parse_labels", "read_labels"]

_NUMBERED = re.compile(r"(\d+)\s*:\s*(.*)")
_IN_ONE_LINE = re.compile(r"(?:^|\s)(\d+)\s*:\s*")
_LOGGED = 100
"""Labels that are logged one by one."""


def parse_labels(text: str, where: str) -> dict[int, str]:
    """Reads `0: name` or one name per line; also `0: a 1: b` in a single line.

    Args:
        text: the content of the file.
        where: its name, for messages.

    Returns:
        Label -> name, in the order of the labels.

    Raises:
        DataError: the spellings are mixed, or a label or a name is there twice.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line]
    if len(lines) == 1:
        parts = _IN_ONE_LINE.split(lines[0][1])
        if len(parts) > 3 and not parts[0]:
            pairs = zip(parts[1::2], parts[2::2], strict=True)
            lines = [(1, f"{label}: {name}") for label, name in pairs]
    matches = [_NUMBERED.fullmatch(line) for _, line in lines]
    labels: dict[int, str] = {}
    seen: dict[str, int] = {}
    for (number, line), match in zip(lines, matches, strict=True):
        if (match is None) != (matches[0] is None):
            raise DataError(
                f"{where}, line {number}: {line!r} is spelled unlike the first line "
                f"{lines[0][1]!r}.\n  Write `number: name` in all lines, or only the name."
            )
        label, name = (int(match[1]), match[2].strip()) if match else (len(labels), line)
        if label in labels or name in seen:
            twice = f"label {label}" if label in labels else f"the name {name!r}"
            raise DataError(f"{where}, line {number}: {twice} is there twice. Remove one of them.")
        labels[label] = name
        seen[name] = label
    return dict(sorted(labels.items()))


def read_labels(url: str) -> dict[int, str] | None:
    """Reads a file of labels; None when there is no such file.

    Raises:
        DataError: it is not UTF-8, or see `parse_labels`.
    """
    try:
        data: bytes = file.read(url, binary=True)
    except FileNotFoundError:
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{url} is not UTF-8 text: {error.reason} at byte {error.start}.") from None
    return parse_labels(text, url)


def format_labels(names: Iterable[str]) -> str:
    """The content of labels.txt for these names: `0: name`."""
    return "".join(f"{label}: {name}\n" for label, name in enumerate(names))


def check_labels(labels: Mapping[int, str], found: Collection[str], where: str, what: str) -> None:
    """Checks that labels go from 0 to n - 1 and name exactly what was found.

    Args:
        labels: as read.
        found: the names that the data have.
        where: the file of labels, for messages.
        what: what the data's names are, for messages: "a class folder".

    Raises:
        DataError: which entries differ.
    """
    gap = next((label for label in range(len(labels)) if label not in labels), None)
    if gap is not None:
        raise DataError(f"{where} has no label {gap}: number the {len(labels)} labels from 0.")
    names = set(labels.values())
    lacking = sorted(set(found) - names)
    absent = sorted(names - set(found))
    if lacking or absent:
        parts = []
        if absent:
            parts.append(f"names {examples(absent)}, which is not {what}")
        if lacking:
            parts.append(f"lacks {examples(lacking)}, which is {what}")
        raise DataError(f"{where} {' and '.join(parts)}.\n  Let both name the same classes.")


def log_labels(labels: Mapping[int, str], where: str) -> None:
    """Logs which label stands for which name, so that training and serving can be compared.

    Of several processes that train together, only the first one does.
    """
    from mox_core.flags import get_flag

    if os.environ.get("RANK", "0") != "0" or get_flag("task_index"):
        return
    level = "WARNING" if get_flag("silent") else get_flag("running_log_level")
    logger = run_logger("mox", level)
    logger.info("%s: %d classes", where, len(labels))
    for count, (label, name) in enumerate(labels.items()):
        if count == _LOGGED:
            logger.info("... and %d more", len(labels) - _LOGGED)
            break
        logger.info("%d: %s", label, name)
