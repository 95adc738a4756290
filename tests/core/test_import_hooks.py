from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import threading
from types import ModuleType

import pytest

from mox_core._import_hooks import when_imported


@pytest.fixture
def write_module(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(name: str, source: str = "") -> str:
        path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        for package in path.relative_to(tmp_path).parents[:-1]:
            (tmp_path / package / "__init__.py").touch()
        path.write_text(source)
        importlib.invalidate_caches()
        return name

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_callback_gets_the_executed_module_when_it_is_imported(write_module):
    name = write_module("hooked_plain", "value = 1")
    seen = []
    when_imported(name, lambda module: seen.append(module.value))
    assert seen == []
    importlib.import_module(name)
    assert seen == [1]


def test_callback_is_called_at_once_for_an_imported_module(write_module):
    module = importlib.import_module(write_module("hooked_early"))
    seen: list[ModuleType] = []
    when_imported("hooked_early", seen.append)
    assert seen == [module]


def test_nested_modules_call_back_each_after_its_own_execution(write_module):
    write_module("hooked_package.sub.leaf", "import hooked_package.sub")
    seen = []
    for name in ("hooked_package.sub.leaf", "hooked_package", "hooked_package.sub"):
        when_imported(name, lambda module: seen.append(module.__name__))
    import hooked_package.sub.leaf  # noqa: F401

    assert seen == ["hooked_package", "hooked_package.sub", "hooked_package.sub.leaf"]


def test_callback_runs_again_after_a_reload(write_module):
    name = write_module("hooked_reload", "patched = False")
    when_imported(name, lambda module: setattr(module, "patched", True))
    module = importlib.import_module(name)
    assert module.patched
    assert importlib.reload(module).patched


def test_an_import_error_in_the_module_stays_what_it_is(write_module):
    name = write_module("hooked_broken", "raise ImportError('from the module')")
    seen: list[ModuleType] = []
    when_imported(name, seen.append)
    with pytest.raises(ImportError, match="from the module"):
        importlib.import_module(name)
    assert seen == []
    assert name not in sys.modules


def test_an_absent_module_stays_absent():
    when_imported("hooked_absent", lambda module: None)
    assert importlib.util.find_spec("hooked_absent") is None
    with pytest.raises(ModuleNotFoundError, match="hooked_absent"):
        importlib.import_module("hooked_absent")


def test_a_failing_callback_is_a_warning_and_the_import_succeeds(write_module, caplog):
    name = write_module("hooked_refused", "value = 3")
    seen: list[ModuleType] = []

    def refuse(module: ModuleType) -> None:
        raise RuntimeError("no")

    when_imported(name, refuse)
    when_imported(name, seen.append)
    with caplog.at_level(logging.WARNING):
        assert importlib.import_module(name).value == 3
    assert [record.getMessage() for record in caplog.records] == [
        "mox could not adapt to hooked_refused: RuntimeError: no"
    ]
    assert len(seen) == 1


def test_a_callback_may_import_watched_modules(write_module):
    first, second = write_module("hooked_first"), write_module("hooked_second")
    seen = []
    when_imported(second, lambda module: seen.append(module.__name__))
    when_imported(first, lambda module: importlib.import_module(second) and seen.append(first))
    importlib.import_module(first)
    assert seen == [second, first]


def test_the_module_keeps_its_own_loader(write_module):
    plain = importlib.import_module(write_module("hooked_not"))
    name = write_module("hooked_loader")
    when_imported(name, lambda module: None)
    module = importlib.import_module(name)
    assert type(module.__loader__) is type(plain.__loader__)
    assert module.__spec__ is not None
    assert module.__spec__.loader is module.__loader__


def test_another_finder_that_asks_all_finders_is_no_endless_recursion(write_module, monkeypatch):
    class Asking:
        asked = False

        def find_spec(self, fullname, path=None, target=None):
            if fullname == "hooked_asked" and not self.asked:
                self.asked = True
                return importlib.util.find_spec(fullname)
            return None

    name = write_module("hooked_asked")
    seen: list[ModuleType] = []
    when_imported(name, seen.append)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path[:1], Asking(), *sys.meta_path[1:]])
    importlib.import_module(name)
    assert len(seen) == 1


def test_waits_for_another_thread_that_is_importing_the_module(write_module):
    name = write_module(
        "hooked_slow",
        "import builtins\n"
        "builtins.hooked_slow_begun.set()\n"
        "assert builtins.hooked_slow_go_on.wait(30)\n"
        "value = 1",
    )
    import builtins

    begun, go_on = threading.Event(), threading.Event()
    builtins.hooked_slow_begun, builtins.hooked_slow_go_on = begun, go_on
    seen = []
    try:
        importer = threading.Thread(target=importlib.import_module, args=(name,))
        importer.start()
        assert begun.wait(30)
        watcher = threading.Thread(
            target=when_imported, args=(name, lambda module: seen.append(module.value))
        )
        watcher.start()
        assert seen == []  # the module is not executed yet
        go_on.set()
        importer.join(30)
        watcher.join(30)
    finally:
        del builtins.hooked_slow_begun, builtins.hooked_slow_go_on
    assert seen == [1]
