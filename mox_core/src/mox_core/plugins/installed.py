"""What installed distributions register, read from their files.

`importlib.metadata` tells the same; importing it takes as long as importing all of mox.file, and a
command of mox lives for a tenth of a second. It is asked where anything but plain folders with
`.dist-info` may hold distributions: zip files, eggs, finders of other tools.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from importlib.metadata import Distribution

__all__ = ["EntryPoint", "Installed", "installed"]


class EntryPoint(NamedTuple):
    """One line of an `entry_points.txt`.

    Attributes:
        group: The section.
        name: Before the equals sign.
        value: `module` or `module:attribute`.
    """

    group: str
    name: str
    value: str

    def load(self) -> Any:
        """Imports what the value names."""
        from importlib import import_module

        module, _, attributes = self.value.partition("[")[0].partition(":")
        loaded: Any = import_module(module.strip())
        for attribute in filter(None, attributes.strip().split(".")):
            loaded = getattr(loaded, attribute)
        return loaded


class Installed(NamedTuple):
    """A distribution that registers something in one of the groups that were asked for.

    Attributes:
        name: As in its metadata.
        version: As in its metadata.
        requires: Its requirements, as in its metadata.
        entry_points: What it registers in groups that begin as was asked.
    """

    name: str
    version: str
    requires: tuple[str, ...]
    entry_points: tuple[EntryPoint, ...]


def installed(prefix: str) -> Iterator[tuple[str, Installed | Exception]]:
    """Finds the distributions with entry points in groups that begin with `prefix`.

    Yields:
        Where the distribution is installed, and what it is, or why it cannot be read; in the order
        of `sys.path`.
    """
    plain = _plain(prefix)
    yield from _by_importlib(prefix) if plain is None else plain


def _plain(prefix: str) -> list[tuple[str, Installed | Exception]] | None:
    """Looks into the folders of `sys.path`; None where only importlib.metadata sees everything."""
    from importlib.machinery import PathFinder

    for finder in sys.meta_path:
        if finder is not PathFinder and hasattr(finder, "find_distributions"):
            return None
    found: list[tuple[str, Installed | Exception]] = []
    for folder in sys.path:
        if not isinstance(folder, str) or folder.lower().endswith(".egg"):
            return None
        try:
            names = os.listdir(folder or ".")
        except FileNotFoundError:
            continue
        except OSError:  # a zip file, no permission
            return None
        for name in names:
            if not name.lower().endswith((".dist-info", ".egg-info")):
                continue
            place = os.path.join(folder, name)
            try:
                lines = _lines(os.path.join(place, "entry_points.txt"), having=f"[{prefix}")
                if not lines:
                    continue
                if not name.lower().endswith(".dist-info"):
                    return None
                points = tuple(_entry_points(lines, prefix))
                if points:
                    found.append((place, _described(place, points)))
            except Exception as error:
                found.append((place, error))
    return found


def _lines(file: str, *, having: str = "") -> list[str]:
    """The lines of a text file; none when it is absent or does not hold `having`."""
    try:
        with open(file, "rb") as stream:
            data = stream.read()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError):
        return []
    # Few distributions have any: a look at the bytes is quicker than taking them apart.
    if having.encode() not in data.replace(b" ", b""):
        return []
    return data.decode("utf-8").splitlines()


def _entry_points(lines: Iterable[str], prefix: str) -> Iterator[EntryPoint]:
    group = ""
    for line in map(str.strip, lines):
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1].strip()
        elif line and not line.startswith("#") and group.startswith(prefix):
            name, _, value = line.partition("=")
            yield EntryPoint(group, name.strip(), value.strip())


def _described(place: str, points: tuple[EntryPoint, ...]) -> Installed:
    fields: dict[str, list[str]] = {"name": [], "version": [], "requires-dist": []}
    for line in _lines(os.path.join(place, "METADATA")):
        if not line:
            break  # the long description follows
        name, _, value = line.partition(":")
        fields.get(name.lower(), []).append(value.strip())
    if not fields["name"] or not fields["version"]:
        raise ValueError("its METADATA holds no name or no version")
    return Installed(
        fields["name"][0], fields["version"][0], tuple(fields["requires-dist"]), points
    )


def _by_importlib(prefix: str) -> Iterator[tuple[str, Installed | Exception]]:
    from importlib.metadata import distributions

    for distribution in distributions():
        place = str(getattr(distribution, "_path", "unknown place"))
        try:
            found = _of_importlib(distribution, prefix)
        except Exception as error:
            yield place, error
        else:
            if found is not None:
                yield place, found


def _of_importlib(distribution: Distribution, prefix: str) -> Installed | None:
    if f"[{prefix}" not in (distribution.read_text("entry_points.txt") or "").replace(" ", ""):
        return None
    points = tuple(
        EntryPoint(point.group, point.name, point.value)
        for point in distribution.entry_points
        if point.group.startswith(prefix)
    )
    if not points:
        return None
    name, version = distribution.metadata["Name"], distribution.version
    return Installed(name, version, tuple(distribution.requires or ()), points)
