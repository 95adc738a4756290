"""Call a function when a module gets imported, without importing it.

Used where mox has to fit in with a library that a script may or may not use: argparse, absl,
click, a training framework. Imports nothing itself, so that `import mox_core` stays cheap.
"""

from __future__ import annotations

import sys
from _thread import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

    Callback = Callable[[ModuleType], object]

__all__ = ["when_imported"]


def when_imported(module_name: str, callback: Callback) -> None:
    """Call `callback(module)` now if the module is imported, else right after its import.

    It is called again whenever the module is executed again (reload), so it must bear being
    called twice. An exception in it becomes one warning line: it never breaks the import.

    Args:
        module_name: absolute dotted name, such as `"absl.flags"`.
        callback: gets the fully executed module.
    """
    _finder.callbacks.setdefault(module_name, []).append(callback)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    if module_name in sys.modules:
        __import__(module_name)  # waits when another thread is still executing it
        _call(callback, sys.modules[module_name])


def _call(callback: Callback, module: ModuleType) -> None:
    try:
        callback(module)
    except Exception as error:
        import logging

        logging.getLogger(__name__).warning(
            "mox could not adapt to %s: %s: %s", module.__name__, type(error).__name__, error
        )


class _Finder:
    """Finds watched modules by way of the other finders, and wraps their loaders."""

    def __init__(self) -> None:
        self.callbacks: dict[str, list[Callback]] = {}
        self._searching: set[tuple[int, str]] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        search = (get_ident(), fullname)
        # A finder that asks the others, as this one does, would come back here for ever.
        if fullname not in self.callbacks or search in self._searching:
            return None
        self._searching.add(search)
        try:
            for finder in sys.meta_path:
                find_spec = getattr(finder, "find_spec", None)
                spec: ModuleSpec | None = find_spec(fullname, path, target) if find_spec else None
                if spec is not None:
                    break
            else:
                return None
        finally:
            self._searching.discard(search)
        if hasattr(spec.loader, "exec_module"):
            spec.loader = _Loader(spec.loader, self.callbacks[fullname])  # type: ignore[assignment]
        return spec


class _Loader:
    """Executes a module with its own loader, then calls the callbacks."""

    def __init__(self, loader: Any, callbacks: list[Callback]) -> None:
        self._loader = loader
        self._callbacks = callbacks

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        # The module must not notice: resources and pickling ask for the loader's own class.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        for callback in list(self._callbacks):
            _call(callback, sys.modules.get(module.__name__, module))


_finder = _Finder()
