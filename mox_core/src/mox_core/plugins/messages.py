"""The wording of plugin errors: what is wrong, and how to mend it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mox_core.plugins.discovery import GROUPS, Candidate, Kind
from mox_core.plugins.suggest import did_you_mean

__all__ = [
    "NOUNS",
    "duplicate",
    "excluded",
    "failed",
    "incompatible",
    "no_answer",
    "not_installed",
    "one_line",
]

NOUNS: dict[Kind, str] = {
    "engine": "engine",
    "storage": "storage driver",
    "dataset": "data set",
    "plugin": "plugin",
}
"""What users call each kind of plugin."""

_OFFICIAL: dict[Kind, dict[str, str]] = {
    "engine": {"tf": "mox-tf", "torch": "mox-torch", "mxnet": "mox-mxnet"},
    "storage": {"obs": "mox-storage-obs", "s3": "mox-storage-s3"},
}


def one_line(error: BaseException) -> str:
    """The type and the first line of an exception."""
    text = str(error).strip()
    name = type(error).__name__
    return f"{name}: {text.splitlines()[0]}" if text else name


def not_installed(kind: Kind, name: str, *, asked: str | None, installed: Collection[str]) -> str:
    """No distribution registers the name."""
    official = _OFFICIAL.get(kind, {})
    names = ", ".join(sorted(installed)) or "none"
    if kind == "storage":
        first = f"no storage driver for '{asked or name + '://'}' (installed: {names})."
    else:
        first = f"{NOUNS[kind]} '{name}' is not installed (installed: {names})."
    if name in official:
        return f"{first}\n  Install it with:  pip install {official[name]}"
    hint = did_you_mean(name, {*installed, *official})
    return (
        f"{first}{hint}\n  A package that provides it registers '{name}' "
        f"in the entry-point group '{GROUPS[kind]}'."
    )


def failed(candidate: Candidate, error: BaseException) -> str:
    """The plugin is installed and raised while it loaded."""
    return (
        f"{_installed(candidate)} but failed to load: {one_line(error)}\n"
        f"  Run `mox doctor {candidate.name}` for the full traceback."
    )


def no_answer(kind: Kind, name: str, *, hook: str) -> str:
    """The plugin loaded, but its select hook is missing or returned None."""
    return (
        f"{NOUNS[kind]} '{name}' is installed, but its plugin gives nothing for {hook}('{name}').\n"
        f"  Its author must implement {hook} with @mox_core.plugins.hookimpl and return an object."
    )


def excluded(candidate: Candidate, only: Collection[str] | None) -> str:
    """The plugin is installed, but the user restricted loading."""
    if only is None:
        return f"{_installed(candidate)} but disabled by --no-plugins or MOX_NO_PLUGINS."
    return (
        f"{_installed(candidate)} but MOX_PLUGINS={','.join(sorted(only))} excludes it.\n"
        f"  Add '{candidate.name}' to MOX_PLUGINS, or unset it."
    )


def incompatible(candidate: Candidate) -> str:
    """The plugin is made for another version of mox-core."""
    from mox_core import __version__

    return (
        f"{_installed(candidate)} but needs {candidate.unmet_requirement}, "
        f"and this is mox-core {__version__}.\n"
        f"  Install versions that fit:  pip install --upgrade mox-core {candidate.distribution}"
    )


def duplicate(candidates: Sequence[Candidate]) -> str:
    """Several distributions register one name."""
    first, last = candidates[0], candidates[-1]
    return (
        f"{NOUNS[first.kind]} '{first.name}' is provided by several distributions: "
        f"{', '.join(candidate.label for candidate in candidates)}.\n"
        f"  Keep one of them, for example:  pip uninstall {last.distribution}"
    )


def _installed(candidate: Candidate) -> str:
    return f"{NOUNS[candidate.kind]} '{candidate.name}' is installed ({candidate.label})"
