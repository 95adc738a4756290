"""Finds the plugins that are installed, without importing them."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from mox_core._lazy import lazy_logger
from mox_core.plugins.installed import EntryPoint, Installed, installed

__all__ = ["GROUPS", "Candidate", "Kind", "discover"]

Kind = Literal["engine", "storage", "dataset", "plugin"]

GROUPS: dict[Kind, str] = {
    "engine": "mox.engines",
    "storage": "mox.storage",
    "dataset": "mox.datasets",
    "plugin": "mox.plugins",
}
"""The entry-point group of each kind of plugin."""

_KINDS: dict[str, Kind] = {group: kind for kind, group in GROUPS.items()}

_ON_MOX_CORE = re.compile(r"mox[-_.]+core(?![-_.\w])", re.IGNORECASE)

_RELEASE = re.compile(r"\d+(\.\d+)*")
_BOUND = re.compile(r"(>=|<=|>|<)(\d+(?:\.\d+)*)")
_PLAIN_REQUIREMENT = re.compile(rf"mox-core(?P<bounds>{_BOUND.pattern}(?:,{_BOUND.pattern})*)")
_COMPARE = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}

logger = lazy_logger("mox")


class Candidate(NamedTuple):
    """An entry point in one of mox's groups.

    Args:
        kind: What it provides.
        entry_point: Where its module is found.
        distribution: The name of the distribution that registers it.
        version: The version of that distribution.
        requires: The requirements of that distribution, as in its metadata.
    """

    kind: Kind
    entry_point: EntryPoint
    distribution: str
    version: str
    requires: tuple[str, ...]

    @property
    def name(self) -> str:
        """The entry-point name: an engine's name, a URL scheme, ..."""
        return self.entry_point.name

    @property
    def group(self) -> str:
        """The entry-point group."""
        return GROUPS[self.kind]

    @property
    def full_name(self) -> str:
        """The name under which the plugin is registered: "group:name"."""
        return f"{self.group}:{self.name}"

    @property
    def label(self) -> str:
        """The distribution and its version, for messages."""
        return f"{self.distribution} {self.version}"

    @property
    def unmet_requirement(self) -> str | None:
        """The requirement on mox-core that the running version does not meet, if there is one."""
        from mox_core import __version__

        ours = [text for text in self.requires if _ON_MOX_CORE.match(text)]
        if all(_plainly_met(text, __version__) for text in ours):
            return None
        from packaging.requirements import InvalidRequirement, Requirement

        for text in ours:
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                continue
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if applies and not requirement.specifier.contains(__version__, prereleases=True):
                return f"mox-core{requirement.specifier}"
        return None


def _plainly_met(requirement: str, version: str) -> bool:
    """Whether `mox-core<0.2,>=0.1` or the like is met; False where packaging has to decide.

    Importing packaging takes longer than all else that is done to find a plugin.
    """
    plain = _PLAIN_REQUIREMENT.fullmatch(requirement)
    if plain is None or not _RELEASE.fullmatch(version):
        return False
    ours = _numbers(version)
    return all(
        _COMPARE[sign](ours, _numbers(bound)) for sign, bound in _BOUND.findall(plain["bounds"])
    )


def _numbers(release: str) -> list[int]:
    numbers = [int(number) for number in release.split(".")]
    while numbers and not numbers[-1]:  # 1.0 is 1
        numbers.pop()
    return numbers


def discover() -> list[Candidate]:
    """Reads the metadata of all installed distributions.

    A distribution that is on `sys.path` twice counts once, as for `import`: the first wins. One
    whose metadata cannot be read is skipped with a warning.

    Returns:
        The entry points in mox's groups, sorted by group and name.
    """
    found: list[Candidate] = []
    seen: set[str] = set()
    for place, distribution in installed("mox."):
        if isinstance(distribution, Exception):
            logger.warning(
                "skipped a distribution whose metadata cannot be read (%s): %s: %s",
                place,
                type(distribution).__name__,
                distribution,
            )
            continue
        name = re.sub(r"[-_.]+", "-", distribution.name).lower()
        if name not in seen:
            seen.add(name)
            found.extend(_candidates(distribution))
    order = list(GROUPS)
    return sorted(found, key=lambda c: (order.index(c.kind), c.name, c.distribution))


def _candidates(distribution: Installed) -> Iterator[Candidate]:
    for entry_point in distribution.entry_points:
        if entry_point.group in _KINDS:
            yield Candidate(
                kind=_KINDS[entry_point.group],
                entry_point=entry_point,
                distribution=distribution.name,
                version=distribution.version,
                requires=distribution.requires,
            )
