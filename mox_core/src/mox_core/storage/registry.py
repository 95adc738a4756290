"""Which driver serves which URL, and with which settings.

The one place of storage that keeps state for the process: set_auth's settings and the drivers that
were made with them. A child of a fork forgets the drivers, because sockets cannot be shared.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mox_core.errors import PluginError
from mox_core.storage.auth import Settings, resolve, update
from mox_core.storage.errors import MoxFileRespException

if TYPE_CHECKING:
    from mox_core.storage.driver import Driver, DriverFactory

__all__ = ["BUILT_IN", "DRIVERS", "Drivers"]


def _file() -> DriverFactory:
    from mox_core.storage.local import LocalDriver

    return LocalDriver


def _memory() -> DriverFactory:
    from mox_core.storage.memory import MemoryDriver

    return MemoryDriver


BUILT_IN: dict[str, Callable[[], DriverFactory]] = {"file": _file, "memory": _memory}
"""Drivers that need no plugin manager, so that local files work whatever is restricted."""


class Drivers:
    """Makes each driver once and hands it to every thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._drivers: dict[str, Driver] = {}
        self._settings = Settings()

    def get(self, scheme: str) -> Driver:
        """The driver of a scheme.

        Raises:
            PluginError: no driver serves the scheme, or it is broken.
        """
        driver = self._drivers.get(scheme)
        if driver is None:
            with self._lock:
                driver = self._drivers.get(scheme)
                if driver is None:
                    # A variable that does not fit must not stop local files.
                    settings = self._settings if scheme in BUILT_IN else self.settings()
                    driver = self._factory(scheme, settings)(scheme, settings)
                    self._drivers[scheme] = driver
        return driver

    def settings(self) -> Settings:
        """What set_auth said, completed from the environment as it is now."""
        return resolve(self._settings, os.environ)

    def set_auth(self, **said: Any) -> None:
        """Changes settings. Transfers that run go on with the drivers that they began with."""
        with self._lock:
            self._settings = update(self._settings, **said)
            self._drivers = {k: v for k, v in self._drivers.items() if k in BUILT_IN}

    @property
    def said(self) -> Settings:
        """What set_auth said, without the environment: for other processes of the program."""
        return self._settings

    def adopt(self, said: Settings) -> None:
        """Takes over what set_auth said in another process."""
        with self._lock:
            self._settings = said
            self._drivers = {k: v for k, v in self._drivers.items() if k in BUILT_IN}

    @contextmanager
    def serving(self, scheme: str, driver: Driver) -> Iterator[None]:
        """Lets a driver serve a scheme for a while, without a plugin; for tests."""
        with self._lock:
            self._drivers[scheme] = driver
        try:
            yield
        finally:
            with self._lock:
                self._drivers.pop(scheme, None)

    def after_fork(self) -> None:
        """In the child: new locks, no drivers, the same settings."""
        self._lock = threading.Lock()
        self._drivers = {}

    def _factory(self, scheme: str, settings: Settings) -> DriverFactory:
        if scheme in BUILT_IN:
            return BUILT_IN[scheme]()
        if scheme.startswith("fsspec+"):
            return _fsspec_factory()
        names = [scheme]
        if scheme == "s3":
            names = [settings.driver] if settings.driver else ["s3", "obs"]
        absent: PluginError | None = None
        for name in names:
            try:
                return _plugin(name, asked=f"{scheme}://")
            except PluginError as error:
                # One that is installed but broken is what the user wants to hear about.
                if not str(error).startswith("no storage driver"):
                    raise
                absent = absent or error
        if _fsspec_knows(scheme):
            return _fsspec_factory()
        assert absent is not None
        raise absent


def _plugin(name: str, *, asked: str) -> DriverFactory:
    from mox_core.plugins import get_manager

    factory: DriverFactory = get_manager().select("storage", name, asked=asked)
    if not callable(factory):
        raise PluginError(
            f"the plugin of storage driver {name!r} gave a {type(factory).__name__}.\n"
            "  Its author must return what makes one: it is called as factory(scheme, settings)."
        )
    return factory


def _fsspec_factory() -> DriverFactory:
    try:
        from mox_core.storage.fsspec_driver import FsspecDriver
    except ImportError as error:
        raise MoxFileRespException(
            f"URLs that begin with fsspec+ need fsspec: {error}.\n"
            "  Install it with:  pip install mox-core[fsspec]"
        ) from error
    return FsspecDriver


def _fsspec_knows(scheme: str) -> bool:
    try:
        from fsspec import available_protocols
    except ImportError:
        return False
    # fsspec's own s3 and obs are other programs (obs is this one, see fsspec_face).
    return scheme in available_protocols() and scheme not in ("s3", "obs")


DRIVERS = Drivers()
os.register_at_fork(after_in_child=DRIVERS.after_fork)
