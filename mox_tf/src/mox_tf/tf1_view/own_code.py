"""Tells a script's own modules from installed ones."""

from __future__ import annotations

import importlib.util
import os
import site
import sys
import sysconfig
import traceback

__all__ = ["OWN", "OwnCode"]

_INSTALLED_FOLDERS = frozenset({"site-packages", "dist-packages"})
# Ours, which a developer may have in an editable installation.
_MOX = ("mox_compat", "mox_core", "mox_mxnet", "mox_tf", "mox_torch", "moxing")


class OwnCode:
    """The files of a script: all that are not installed.

    These are those in its folder, on PYTHONPATH, in folders that it adds to `sys.path`, and in
    editable installations, which are somebody's own work. Installed is what lies in Python's
    folders or below a folder `site-packages`, and mox.
    """

    def __init__(self) -> None:
        self._scripts: list[str] = []
        self._installed: list[str] = []
        self._known: dict[str, bool] = {}

    def add_script(self, script: str) -> None:
        """Adds the folder of a script."""
        self._installed = self._installed or _installed_folders()
        self._scripts.append(os.path.dirname(os.path.realpath(script)))
        self._known.clear()

    def __contains__(self, file: object) -> bool:
        if not isinstance(file, str):
            return False
        known = self._known.get(file)
        if known is None:
            known = self._known[file] = self._is_own(file)
        return known

    def _is_own(self, file: str) -> bool:
        if file.startswith("<"):  # `<string>`, `<frozen ...>`
            return False
        path = os.path.realpath(file)
        script = _depth(path, self._scripts)
        installed = _depth(path, self._installed)
        inside = path[script:] if script else path
        return script >= installed and _INSTALLED_FOLDERS.isdisjoint(inside.split(os.sep))

    def place(self, error: BaseException | None = None) -> str:
        """Returns `train.py, line 12`: the innermost line of the script's own.

        Args:
            error: where it was raised; None: where this is called.
        """
        if error is not None:
            frames = traceback.extract_tb(error.__traceback__)
        else:
            frames = traceback.extract_stack(sys._getframe(1))
        for frame in reversed(frames):
            if frame.filename in self:
                return f"{_shown(frame.filename)}, line {frame.lineno}"
        return "the script"


def _installed_folders() -> list[str]:
    folders = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    folders += [*getattr(site, "getsitepackages", list)(), site.getusersitepackages()]
    for name in _MOX:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            folders.append(os.path.dirname(spec.origin))
    return [os.path.realpath(folder) for folder in folders if folder]


def _depth(path: str, folders: list[str]) -> int:
    """The length of the longest folder that holds a path; 0 for none."""
    return max((len(f) for f in folders if path.startswith(f.rstrip(os.sep) + os.sep)), default=0)


def _shown(path: str) -> str:
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


OWN = OwnCode()
"""The code of this process's script."""
