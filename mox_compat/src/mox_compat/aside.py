"""Steps aside for the real MoXing, where it is installed.

`MOX_COMPAT=first` in the environment puts mox-compat before it. Imports next to nothing: every
`import moxing` passes here.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.machinery import ModuleSpec

__all__ = ["come_first", "notice", "real_moxing", "step_aside"]

SWITCH = "MOX_COMPAT"


def own_folder() -> str:
    """The folder that holds mox-compat's `moxing`: below this package, beside it in a checkout."""
    here = os.path.dirname(os.path.abspath(__file__))
    installed = os.path.join(here, "path")
    return installed if os.path.isdir(installed) else os.path.dirname(here)


def come_first() -> None:
    """Puts mox-compat's `moxing` before the real one on Python's path, behind the first entry.

    That is, or will be, the folder of the script.
    """
    folder = own_folder()
    first, *others = sys.path
    sys.path[:] = [first, folder, *(entry for entry in others if entry != folder)]


def real_moxing(path: Iterable[str] | None = None) -> ModuleSpec | None:
    """Finds a package `moxing` that is not mox-compat's.

    Args:
        path: where to look; None: on Python's path.
    """
    from importlib.machinery import PathFinder

    own = os.path.realpath(own_folder())
    for entry in sys.path if path is None else path:
        if os.path.realpath(entry) == own:
            continue
        spec = PathFinder.find_spec("moxing", [entry])
        if spec is not None and spec.loader is not None and spec.origin is not None:
            return spec
    return None


def notice() -> str | None:
    """What to tell a user who has both installed; None without the real MoXing."""
    spec = real_moxing()
    if spec is None:
        return None
    where = os.path.dirname(spec.origin or "")
    if os.environ.get(SWITCH) == "first":
        return f"MoXing is installed in {where}; {SWITCH}=first puts mox-compat before it."
    return (
        f"MoXing is installed in {where}: `import moxing` is that one, and mox-compat steps aside. "
        f"{SWITCH}=first in the environment puts mox-compat before it."
    )


def step_aside() -> bool:
    """Loads the real MoXing in place of the `moxing` that is being imported, if there is one.

    Returns:
        Whether it did.
    """
    if os.environ.get(SWITCH) == "first":
        return False
    spec = real_moxing()
    if spec is None or spec.loader is None:
        return False
    import logging
    from importlib.util import module_from_spec

    logging.getLogger("mox").warning("%s", notice())
    module = module_from_spec(spec)
    sys.modules["moxing"] = module
    spec.loader.exec_module(module)
    return True
